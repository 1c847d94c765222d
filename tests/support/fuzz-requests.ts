import { gzipSync } from "node:zlib";
import type { Random } from "./random.ts";

/**
 * Requests as no client should send them. A `sound` case follows HTTP/1.1 to the letter, however odd it looks, so that
 * its answers can be judged; any other may be answered in whatever way ends it.
 */
export type FuzzCase = {
  number: number;
  /** What goes to the socket, in the pieces in which it is written. */
  pieces: Buffer[];
  /** The requests in it that a server must answer, in order; empty for a case that is not sound. */
  sound: { id: string; method: string; head: string; body: Buffer }[];
  /** Whether bytes were changed at random, so that the ids inside mean nothing any more. */
  mutated: boolean;
  /** `wait`: until the server closes. `end`: half-close once something came back, or soon. `destroy`: at once. */
  ending: "wait" | "end" | "destroy";
};

type Request = { id: string; method: string; head: string; wire: Buffer; body: Buffer };

const METHODS = ["POST", "POST", "POST", "POST", "GET", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "SEARCH"];
const PATHS = ["/v1/messages", "/v1/messages?beta=true", "/v1/messages/count_tokens", "/v1/models?limit=1000"];
const ODD_PATHS = [
  ..."/v1/files /v1/messages/ /v1//messages /v1/%zz%00 /v1/../../etc/passwd /v1/messages#f /v1/;a=b?c[]=d&&&=".split(
    " ",
  ),
  ..."/api/hello * foo http://example.com/v1/messages http:// / // /v1/messages/batches/x/results ?a".split(" "),
];

/** The case of a number: the same generator and number give the same bytes. */
export function fuzzCase(random: Random, number: number): FuzzCase {
  const kind = random.int(100);
  const make = kind < 40 ? soundCase : kind < 65 ? brokenCase : kind < 80 ? truncatedCase : mutatedCase;
  return { number, ...make(random, `${make === soundCase ? "sound" : "broken"}-${number}`) };
}

type Made = Omit<FuzzCase, "number">;

function soundCase(random: Random, id: string): Made {
  const count = random.int(5) === 0 ? 2 + random.int(3) : 1;
  const requests = Array.from({ length: count }, (_, index) =>
    soundRequest(random, `${id}.${index}`, { last: index === count - 1 }),
  );
  const bytes = Buffer.concat(requests.map(({ wire }) => wire));
  return { pieces: split(random, bytes), sound: requests, mutated: false, ending: "wait" };
}

function truncatedCase(random: Random, id: string): Made {
  const { wire } = soundRequest(random, `${id}.0`, { last: true });
  const bytes = wire.subarray(0, random.int(wire.length));
  const ending = random.pick(["end", "destroy"] as const);
  return { pieces: split(random, bytes), sound: [], mutated: true, ending };
}

/** One rule of HTTP broken, or one number too large. */
function brokenCase(random: Random, id: string): Made {
  const { method, head, body } = soundRequest(random, `${id}.0`, { last: true });
  const fields = head.split("\r\n").slice(0, -2);
  const [, ...rest] = fields;
  const version = random.pick(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "HTP/1.1", ""]);
  const target = random.int(2) === 0 ? random.pick(ODD_PATHS) : odd(random, 1 + random.int(300));
  const verb =
    random.int(3) === 0 ? random.pick(["", "get", "P\u00d6ST", "CONNECT", "TRACE", "X".repeat(300)]) : method;
  const broken = [`${verb} ${target} ${version}`, ...rest];
  for (let left = random.int(4); left > 0; left -= 1) broken.splice(1 + random.int(broken.length), 0, oddField(random));
  const bytes = Buffer.concat([Buffer.from(`${broken.join(random.int(20) ? "\r\n" : "\n")}\r\n\r\n`, "latin1"), body]);
  return { pieces: split(random, bytes), sound: [], mutated: true, ending: random.pick(["end", "end", "destroy"]) };
}

function mutatedCase(random: Random, id: string): Made {
  const bytes = Buffer.from(soundRequest(random, `${id}.0`, { last: true }).wire);
  for (let left = 1 + random.int(6); left > 0; left -= 1) bytes[random.int(bytes.length)] = random.int(256);
  return { pieces: split(random, bytes), sound: [], mutated: true, ending: random.pick(["end", "end", "destroy"]) };
}

/** Odd and right: every spelling, framing and value that the standard allows. */
function soundRequest(random: Random, id: string, { last }: { last: boolean }): Request {
  const method = random.pick(METHODS);
  const path =
    random.int(10) === 0 ? `/v1/${odd(random, random.int(200)).replace(/[^!-~]|[?#]/g, "x")}` : random.pick(PATHS);
  const hasBody = method === "POST" || random.int(6) === 0;
  const plain = hasBody ? oddBody(random) : Buffer.alloc(0);
  const zipped = hasBody && random.int(12) === 0;
  const body = zipped && random.int(3) > 0 ? gzipSync(plain) : plain;
  const lines = [
    `${random.pick(["Host", "host", "HOST"])}: ${random.pick(["127.0.0.1", "a.example:1", "[::1]:80"])}`,
    `x-fuzz-id:${random.pick(["", " ", "  ", "\t"])}${id}${random.pick(["", " ", "\t "])}`,
    `X-Headroom-Agent: ${id}`,
    random.pick([
      "x-api-key: sk-ant-1",
      "Authorization: Bearer sk-ant-1",
      "authorization:bearer hr_known",
      "X-Api-Key: hr_no",
    ]),
  ];
  if (zipped)
    lines.push(`content-encoding: ${random.pick(["gzip", "GZIP", "br", "zstd", "deflate", "gzip, br", "x"])}`);
  if (random.int(3) === 0) lines.push(`anthropic-beta: a-${random.int(9)},b`, "anthropic-beta: c");
  if (random.int(8) === 0) lines.push(`X-Long-${random.int(9)}: ${"v".repeat(random.int(12_000))}`);
  if (random.int(8) === 0) for (let left = random.int(60); left > 0; left -= 1) lines.push(`X-N${left}: ${left}`);
  if (random.int(10) === 0) lines.push(`X-Latin: ${"\u00e9\u00ff".repeat(random.int(20))}`);
  if (random.int(10) === 0)
    lines.push("Connection: keep-alive, x-hop, TE", "X-Hop: 1", "TE: trailers", "Keep-Alive: 9");
  if (random.int(12) === 0) lines.push("cookie: headroom_session=1; a=b", "x-headroom-class: critical");
  if (random.int(15) === 0 && hasBody) lines.push("expect: 100-continue");
  if (last) lines.push(random.pick(["Connection: close", "connection: Close"]));
  const isChunked = hasBody && random.int(2) === 0;
  if (isChunked) lines.push(random.pick(["Transfer-Encoding: chunked", "transfer-encoding: CHUNKED"]));
  else if (hasBody || random.int(3) === 0) lines.push(`Content-Length: ${body.length}`);
  shuffle(random, lines);
  const head = `${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
  const wire = Buffer.concat([Buffer.from(head, "latin1"), isChunked ? chunked(random, body) : body]);
  return { id, method, head, wire, body };
}

function chunked(random: Random, body: Buffer): Buffer {
  const parts: Buffer[] = [];
  // Bytes one by one are proven on small bodies; a large one would be all framing.
  const largest = Math.max(random.pick([1, 7, 300, 70_000]), body.length >> 7);
  for (let at = 0; at < body.length; ) {
    const size = Math.min(body.length - at, 1 + random.int(largest));
    const digits = size.toString(16);
    const written = random.pick([digits, digits.toUpperCase(), `000${digits}`, `${digits};ext=1`, `${digits};a="b c"`]);
    parts.push(Buffer.from(`${written}\r\n`), body.subarray(at, at + size), Buffer.from("\r\n"));
    at += size;
  }
  return Buffer.concat([...parts, Buffer.from(random.pick(["0\r\n\r\n", "000\r\n\r\n", "0\r\nx-trailer: 1\r\n\r\n"]))]);
}

function oddBody(random: Random): Buffer {
  const text = odd(random, random.int(400));
  const message = {
    model: random.pick(["claude-opus-5-5", "", text]),
    stream: random.int(2) === 0,
    max_tokens: 5,
    text,
  };
  const json = JSON.stringify(message);
  switch (random.int(14)) {
    case 0:
      return Buffer.alloc(0);
    case 1:
      return Buffer.from(json.slice(0, random.int(json.length)));
    case 2:
      return bytesOf(random, random.int(2_000));
    case 3:
      return Buffer.concat([
        Buffer.from(`{"model":"`),
        bytesOf(random, 40),
        Buffer.from(`","system":"\xed\xa0\x80"}`, "latin1"),
      ]);
    case 4:
      return Buffer.from(`${"[".repeat(random.int(30_000))}${json}`);
    case 5:
      return Buffer.from(`{"a":${'{"a":'.repeat(random.int(5_000))}1`);
    case 6:
      return Buffer.from(`\ufeff {"model" : "a", "mod\\u0065l":"claude-haiku-5-5" , "model":7, "speed":"fast"}`);
    case 7:
      return Buffer.from(JSON.stringify({ ...message, system: "s".repeat(random.int(200_000)) }));
    case 8:
      return Buffer.from(
        random.pick(["null", "[]", '"', "{", "{}", "0", "{\\", '{"model":}', '{"model":"\\', "\0\0\0"]),
      );
    case 9:
      return Buffer.from(JSON.stringify({ ...message, metadata: { user_id: odd(random, 300) } }));
    default:
      return Buffer.from(json);
  }
}

function oddField(random: Random): string {
  return random.pick([
    () => `Content-Length: ${random.pick(["-1", "1e3", "99999999999999999999", "0x10", " ", "5, 5", "+3", "7"])}`,
    () => `Transfer-Encoding: ${random.pick(["gzip", "chunked, chunked", "xchunked", "identity", "chunked\x0b", ""])}`,
    () => `${odd(random, 1 + random.int(30))}: ${odd(random, random.int(100))}`,
    () => `X-Huge: ${"h".repeat(random.int(90_000))}`,
    () => `Connection: ${random.pick(["content-length, host", "x-api-key", "upgrade", ",,,", "close, close"])}`,
    () => `Upgrade: ${random.pick(["h2c", "websocket"])}`,
    () => `Expect: ${random.pick(["100-continue", "200-ok", ""])}`,
    () => " folded: line",
    () => "no colon at all",
    () => "Host: again",
    () => `Authorization: ${random.pick(["Bearer", "Bearer hr_", "Basic OjI=", "bearer\thr_known"])}`,
    () => Array.from({ length: random.int(2_500) }, (_, index) => `x${index}:1`).join("\r\n"),
  ])();
}

/** Text of every kind: letters, percent signs, spaces, controls and high bytes. */
function odd(random: Random, length: number): string {
  let text = "";
  while (text.length < length) {
    text += random.pick([
      "a",
      "Z",
      "9",
      "%",
      "%2f",
      "/",
      " ",
      "\t",
      "\u0000",
      "\u007f",
      "\u00e9",
      "\u00ff",
      '"',
      "\\",
      "{",
      "?",
    ]);
  }
  return text;
}

function bytesOf(random: Random, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1) bytes[at] = random.int(256);
  return bytes;
}

function split(random: Random, bytes: Buffer): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (let cuts = random.int(3) === 0 ? random.int(6) : 0; cuts > 0 && at < bytes.length; cuts -= 1) {
    const end = at + random.int(bytes.length - at);
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return [...pieces, bytes.subarray(at)];
}

function shuffle(random: Random, lines: string[]): void {
  for (let at = lines.length - 1; at > 0; at -= 1) {
    const other = random.int(at + 1);
    [lines[at], lines[other]] = [lines[other] ?? "", lines[at] ?? ""];
  }
}
