import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { differencesBetween, differencesInside, run } from "../support/differential.ts";
import { DOORS, openDoor } from "../support/gateway.ts";
import { readAnswers, statusOf } from "../support/http-wire.ts";
import { speak } from "../support/speak.ts";
import { startLiveUpstream, startUpstream } from "../support/upstream.ts";

/**
 * HTTP as hand-written clients, curl and old proxies speak it: the same bytes straight at the simulated API and through
 * each door, with the exceptions of `differential.ts`. Trailers of a request are not passed on (RFC 9110, 6.5.1).
 */

const BODY = JSON.stringify({
  model: "claude-opus-5-5",
  max_tokens: 60,
  messages: [{ role: "user", content: "Grüße 😀" }],
});
const STREAMED = BODY.replace("{", '{"stream":true,');
const KEY = "x-api-key: sk-ant-1\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n";
const CLOSE = "Connection: close\r\n";
const length = (body: string) => `Content-Length: ${Buffer.byteLength(body)}\r\n`;
const chunks = (body: string, size: number, extension = "") => {
  const bytes = Buffer.from(body);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const part = bytes.subarray(at, at + size);
    parts.push(Buffer.from(`${part.length.toString(16)}${extension}\r\n`), part, Buffer.from("\r\n"));
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n")]).toString("latin1");
};
const post = (fields: string, body: string, version = "1.1") =>
  `POST /v1/messages HTTP/${version}\r\nHost: a\r\n${KEY}${fields}\r\n${body}`;
const utf8 = (text: string) => Buffer.from(text).toString("latin1");

/** Latin-1, as it goes over the wire. Each piece is written by itself. */
const CASES: Record<string, readonly string[]> = {
  "chunks of one byte": [post(`${CLOSE}Transfer-Encoding: chunked\r\n`, `${chunks(BODY, 1)}\r\n`)],
  "chunks of 17 bytes with extensions and a trailer": [
    post(
      `${CLOSE}transfer-encoding: Chunked\r\nTrailer: x-sum\r\n`,
      `${chunks(STREAMED, 17, ';a="b; c"')}x-sum: 1\r\n\r\n`,
    ),
  ],
  "a body that comes byte by byte": [post(CLOSE + length(BODY), ""), ...utf8(BODY)],
  "a head that comes in pieces": [
    "PO",
    "ST /v1/mess",
    "ages HTTP/1.1\r",
    `\nHost: a\r\n${KEY}${CLOSE}${length(BODY)}\r`,
    `\n${utf8(BODY)}`,
  ],
  "expect: 100-continue": [post(`${CLOSE}Expect: 100-continue\r\n${length(BODY)}`, utf8(BODY))],
  "HTTP/1.0, plain": [post(length(BODY), utf8(BODY), "1.0")],
  "HTTP/1.0, streamed": [post(length(STREAMED), utf8(STREAMED), "1.0")],
  "HTTP/1.0 with keep-alive": [
    post(`Connection: keep-alive\r\n${length(BODY)}`, utf8(BODY), "1.0") + post(length(BODY), utf8(BODY), "1.0"),
  ],
  "three calls in one write": [
    post(length(BODY), utf8(BODY)) + post(length(STREAMED), utf8(STREAMED)) + post(CLOSE + length(BODY), utf8(BODY)),
  ],
  "empty lines between calls": [`${post(length(BODY), utf8(BODY))}\r\n\r\n${post(CLOSE + length(BODY), utf8(BODY))}`],
  "duplicate fields, odd spelling, spaces and tabs around values": [
    post(
      `${CLOSE}ANTHROPIC-BETA:files-api-2025-04-14\r\nanthropic-beta:\t context-1m-2025-08-07 \t\r\nX-Odd:\r\nx-ODD:  two  words \r\naCCept: */*\r\n${length(BODY)}`,
      utf8(BODY),
    ),
  ],
  "ten kilobytes in one field, two hundred fields": [
    post(`${CLOSE}X-Long: ${"v".repeat(10_000)}\r\n${"X-Many: 1\r\n".repeat(200)}${length(BODY)}`, utf8(BODY)),
  ],
  "bytes beyond ASCII in a value": [
    post(`${CLOSE}X-Latin: caf\xe9\r\nX-Utf8: ${utf8("Grüße")}\r\n${length(BODY)}`, utf8(BODY)),
  ],
  "a body of no bytes": [post(`${CLOSE}Content-Length: 0\r\n`, "")],
  "no body and no length": [post(CLOSE, "")],
  "chunks that make no body": [post(`${CLOSE}Transfer-Encoding: chunked\r\n`, "0\r\n\r\n")],
  "no JSON, no UTF-8": [post(`${CLOSE}Content-Length: 5\r\n`, '{"\xff\xfe}')],
  HEAD: [`HEAD /v1/models HTTP/1.1\r\nHost: a\r\n${KEY}${CLOSE}\r\n`],
  "Claude Code's probe": [`HEAD /api/hello HTTP/1.1\r\nHost: a\r\n${CLOSE}\r\n`],
  "an unknown method": [`PROPFIND /v1/messages HTTP/1.1\r\nHost: a\r\n${KEY}${CLOSE}\r\n`],
  "a query with everything in it": [
    `GET /v1/models?beta=true&limit=1&a[]=%20%zz&b=c;d&&=&e=f+g%2Bh HTTP/1.1\r\nHost: a\r\n${KEY}${CLOSE}\r\n`,
  ],
  "connection options that name other fields": [
    post(`Connection: close, x-hop\r\nX-Hop-Not: 1\r\n${length(BODY)}`, utf8(BODY)),
  ],
};

/** Those that the API answers with an error of its own. */
const REFUSED = [
  ...["a body of no bytes", "no body and no length", "chunks that make no body", "no JSON, no UTF-8", "HEAD"],
  ...["an unknown method", "dots and slashes in a path"],
];

/** What a `Request` cannot hold: its URL is parsed and put together again, and with GET it has no body. */
const NOT_WEB: Record<string, readonly string[]> = {
  "GET with a body": [`GET /v1/models?limit=1 HTTP/1.1\r\nHost: a\r\n${KEY}${CLOSE}Content-Length: 3\r\n\r\nabc`],
  "dots and slashes in a path": [`GET /v1/./x/../models//?limit=1 HTTP/1.1\r\nHost: a\r\n${KEY}${CLOSE}\r\n`],
  "quotes and bars in a query": [`GET /v1/models?limit=1&q="a|b"<c> HTTP/1.1\r\nHost: a\r\n${KEY}${CLOSE}\r\n`],
};

describe.each(DOORS)("through the %s door", (door) => {
  test.each(Object.entries(door === "web" ? CASES : { ...CASES, ...NOT_WEB }))("%s", async (name, pieces) => {
    const straight = await run("straight", (url) => speak(url, pieces));
    const through = await run(door, (url) => speak(url, pieces));
    expect(straight.client.length).toBeGreaterThan(0);
    expect(straight.client.every(({ answer }) => answer?.whole)).toBe(true);
    expect(straight.client.map(({ answer }) => statusOf(answer?.startLine ?? "") === 200)).not.toContain(
      REFUSED.includes(name),
    );
    expect(differencesInside(through)).toEqual([]);
    expect(differencesBetween(straight, through)).toEqual([]);
    const interim = (of: typeof straight) =>
      of.client.map((exchange) => exchange.interim.map(({ startLine }) => startLine));
    expect(interim(through)).toEqual(interim(straight));
  });

  const curls: Record<string, readonly string[]> = {
    "plain, with curl's own framing": ["-d", BODY],
    "chunked from standard input": ["-H", "Transfer-Encoding: chunked", "-d", BODY],
    "waiting for 100 Continue": ["-H", "Expect: 100-continue", "-d", BODY],
    "HTTP/1.0": ["--http1.0", "-d", BODY],
    "a compressed stream": ["--compressed", "-H", "x-simulator-encoding: gzip", "-d", STREAMED],
    "fields without values, and taken away": ["-H", "X-Empty;", "-H", "Accept:", "-H", "User-Agent:", "-d", BODY],
    "an upload in parts": ["-F", "file=@package.json;type=text/plain"],
  };
  test.each(Object.entries(curls))("curl: %s", async (name, args) => {
    const path = name.startsWith("an upload") ? "/v1/files" : "/v1/messages";
    const program = async (url: string) => {
      const fixed = ["-sS", "-w", "\n%{http_code}", "-H", "x-api-key: sk-ant-1", "-H", "anthropic-version: 2023-06-01"];
      const type = path === "/v1/files" ? [] : ["-H", "content-type: application/json"];
      return (await promisify(execFile)("curl", [...fixed, ...type, ...args, url + path])).stdout;
    };
    const straight = await run("straight", program);
    const through = await run(door, program);
    expect(straight.value).toMatch(/\n200$/);
    expect(differencesInside(through)).toEqual([]);
    expect(differencesBetween(straight, through)).toEqual([]);
    expect(through.value).toEqual(straight.value);
  });
});

test("a target in absolute form is the path that it names", async () => {
  const target = "http://api.anthropic.com/v1/messages?beta=true";
  const raw = (line: string) => [`POST ${line} HTTP/1.1\r\nHost: a\r\n${KEY}${CLOSE}${length(BODY)}\r\n${utf8(BODY)}`];
  const straight = await run("straight", (url) => speak(url, raw("/v1/messages?beta=true")));
  const through = await run("socket", (url) => speak(url, raw(target)));
  expect(through.upstream[0]?.request.startLine).toBe("POST /v1/messages?beta=true HTTP/1.1");
  expect(through.client[0]?.answer?.body).toEqual(straight.client[0]?.answer?.body);
});

test("interim answers of a call that waits behind another do not get into its answer", async () => {
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    if (req.url === "/v1/second") {
      res.writeProcessing();
      res.writeEarlyHints({ link: "</a>; rel=preload" });
      res.end("second", () => second.resolve());
    } else void first.promise.then(() => res.end("first"));
  });
  const answers = await pipelined(upstream, async () => {
    await second.promise;
    first.resolve();
  });
  expect(answers.map(({ body }) => body.toString())).toEqual(["first", "second"]);
});

test("a refusal of a call that expects 100 Continue and waits behind another comes in one piece", async () => {
  const refused = Promise.withResolvers<void>();
  const upstream = await startUpstream((res) => void refused.promise.then(() => res.end("first")));
  const fields = "x-api-key: hr_unknown\r\nExpect: 100-continue\r\nContent-Length: 2\r\n";
  const answers = await pipelined(
    upstream,
    async (door) => {
      await door.records.atLeast(1);
      refused.resolve();
    },
    `POST /v1/second HTTP/1.1\r\nHost: a\r\n${fields}\r\n{}`,
  );
  expect(answers.map(({ startLine }) => statusOf(startLine))).toEqual([200, 401]);
  expect(JSON.parse(String(answers[1]?.body))).toMatchObject({ error: { type: "authentication_error" } });
});

test("a cut answer that waits behind another ends the connection when its turn comes", async () => {
  const first = Promise.withResolvers<void>();
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    if (req.url === "/v1/second") res.write("part", () => req.socket.destroy());
    else void first.promise.then(() => res.end("first"));
  });
  const answers = await pipelined(upstream, async (door) => {
    await door.records.atLeast(1);
    first.resolve();
  });
  expect(answers.map(({ body, whole }) => [body.toString(), whole])).toEqual([
    ["first", true],
    ["part", false],
  ]);
});

test("a refusal reaches a client that is still uploading and wants the connection closed", async () => {
  const upstream = await startUpstream((res) => res.end());
  onTestFinished(upstream.close);
  const door = await openDoor("socket", upstream.url);
  onTestFinished(door.close);
  const upload = Buffer.alloc(8 * 1024 * 1024, "u");
  const head = `POST /v1/messages HTTP/1.1\r\nHost: a\r\nx-api-key: hr_unknown\r\n${CLOSE}Content-Length: ${upload.length}\r\n\r\n`;
  const received = await speak(door.url, [head, upload.toString("latin1")]);
  const [answer] = readAnswers(received, ["POST"]);
  expect([statusOf(answer?.startLine ?? ""), answer?.whole]).toEqual([401, true]);
});

type Door = Awaited<ReturnType<typeof openDoor>>;

/** Two calls in one write, which only Node's server begins both at once; what comes back for them. */
async function pipelined(
  upstream: { url: string; close(): Promise<void> },
  meanwhile: (door: Door) => Promise<void>,
  second = "GET /v1/second HTTP/1.1\r\nHost: a\r\n\r\n",
) {
  onTestFinished(upstream.close);
  const door = await openDoor("node", upstream.url);
  onTestFinished(door.close);
  const said = speak(door.url, [`GET /v1/first HTTP/1.1\r\nHost: a\r\n\r\n${second}`], 2);
  await meanwhile(door);
  return readAnswers(await said, ["GET", second.split(" ", 1)[0] ?? ""]).filter(
    ({ startLine }) => statusOf(startLine) >= 200,
  );
}
