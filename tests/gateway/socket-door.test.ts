import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createAgentServer } from "../../lib/gateway/agent-server.ts";
import { openDoor } from "../support/gateway.ts";
import { readAnswers, statusOf, valuesOf } from "../support/http-wire.ts";
import { speak } from "../support/speak.ts";
import { startLiveUpstream, startUpstream } from "../support/upstream.ts";

const get = (path: string, fields = "") => `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
const post = (path: string, body: string, fields = "") =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
const CHUNKED = "POST /v1/third HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

/** The door before an upstream that says which call it was, on a server that answers all else by itself. */
async function openServer() {
  const upstream = await startUpstream((res, { target, body }) => res.end(`${target} ${body}`));
  onTestFinished(upstream.close);
  const { gateway, records, close } = await openDoor("node", upstream.url);
  onTestFinished(close);
  const seen: (string | undefined)[] = [];
  const { server, door } = createAgentServer((req, res) => {
    seen.push(req.url);
    if (req.url?.startsWith("/v1/")) gateway.handleNode(req, res);
    else res.end(`page ${req.url}`);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(() => {
    door.closeAllConnections();
    server.closeAllConnections();
    server.close();
  });
  return { door, server, url, seen, gateway, upstream, records };
}

const bodies = (bytes: Buffer, count: number) =>
  readAnswers(bytes, Array<string>(count).fill("POST")).map(({ body, whole }) => (whole ? body.toString() : null));

test("plain calls never meet Node's server, and all else on their connection does, in order", async () => {
  const { door, url, seen, gateway } = await openServer();
  door.calls = gateway.calls;
  const pieces = [post("/v1/first", "1"), post("/v1/second", "2"), CHUNKED, get("/page"), post("/v1/fifth", "5")];
  const expected = ["/v1/first 1", "/v1/second 2", "/v1/third abc", "page /page", "/v1/fifth 5"];
  expect(bodies(await speak(url, pieces, 5), 5)).toEqual(expected);
  expect(seen).toEqual(["/v1/third", "/page", "/v1/fifth"]);
  expect(door.connections.size).toBe(0);
});

test("calls in one write are answered in turn, each begun when the one before it is done", async () => {
  const { door, url, gateway, upstream } = await openServer();
  door.calls = gateway.calls;
  const calls = Array.from({ length: 50 }, (_, index) => post(`/v1/${index}`, "x".repeat(index)));
  const received = await speak(url, [calls.join("")], 50);
  expect(bodies(received, 50)).toEqual(calls.map((_, index) => `/v1/${index} ${"x".repeat(index)}`));
  expect(upstream.received.map(({ target }) => target)).toEqual(calls.map((_, index) => `/v1/${index}`));
});

test("long prompts arrive whole, in one write with others too, though their memory is given back", async () => {
  const upstream = await startUpstream((res, { body }) => res.end(`${body.length} ${new Set(body).size}`));
  onTestFinished(upstream.close);
  const door = await openDoor("socket", upstream.url);
  onTestFinished(door.close);
  const letters = Array.from({ length: 12 }, (_, index) => "abcdefghijkl"[index] ?? "");
  const calls = letters.map((letter, index) => post("/v1/messages", letter.repeat(1 + index * 70_000)));
  const answers = letters.map((_, index) => `${1 + index * 70_000} 1`);
  const together = await speak(door.url, [calls.join("")], calls.length);
  expect(bodies(together, calls.length)).toEqual(answers);
  const apart = await speak(door.url, calls, calls.length);
  expect(bodies(apart, calls.length)).toEqual(answers);
  expect(upstream.received.map(({ body }) => String.fromCharCode(body[0] ?? 0))).toEqual([...letters, ...letters]);
});

test("until somebody serves calls, and for what is not HTTP, Node's server answers", async () => {
  const { door, url, seen, gateway } = await openServer();
  expect(bodies(await speak(url, [get("/v1/early")], 1), 1)).toEqual(["/v1/early "]);
  expect(seen).toEqual(["/v1/early"]);
  door.calls = gateway.calls;
  const odd = [
    "GET /v1/x HTTP/1.1\r\n\r\n",
    get("/v1/x", "Content-Length: 1\r\nContent-Length: 2\r\n"),
    get("/v1/x", "Bad Name: 1\r\n"),
    "\u0016\u0003\u0001 \r\n\r\n",
  ];
  for (const request of odd) {
    const [answer] = readAnswers(await speak(url, [request], 1), ["GET"]);
    expect([request, statusOf(answer?.startLine ?? "")]).toEqual([request, 400]);
  }
});

test("a request in pieces is the same request, wherever it is cut", async () => {
  const { door, url, gateway, upstream } = await openServer();
  door.calls = gateway.calls;
  const request = post("/v1/files", "0123456789");
  for (let cut = 1; cut < request.length; cut += 1) {
    const received = await speak(url, [request.slice(0, cut), request.slice(cut)], 1);
    expect([cut, ...bodies(received, 1)]).toEqual([cut, "/v1/files 0123456789"]);
  }
  expect(new Set(upstream.received.map(({ body }) => body.toString()))).toEqual(new Set(["0123456789"]));
});

test("a client that closes its side has left: its call ends at once, at the upstream too", async () => {
  const arrived = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    res.on("close", () => left.resolve());
    arrived.resolve();
  });
  onTestFinished(upstream.close);
  const door = await openDoor("socket", upstream.url);
  onTestFinished(door.close);
  const socket = connect(Number(new URL(door.url).port), "127.0.0.1");
  socket.write(get("/v1/slow"));
  await arrived.promise;
  socket.end();
  await left.promise;
  expect(door.gateway.openCalls).toBe(0);
  expect((await door.records.only()).outcome).toBe("canceled");
});

test("a server that closes ends idle connections at once, and others with the answer that they wait for", async () => {
  const { door, url, gateway, server, upstream } = await openServer();
  const release = Promise.withResolvers<void>();
  const slow = await startUpstream((res) => void release.promise.then(() => res.end("late")));
  onTestFinished(slow.close);
  const other = await openDoor("socket", slow.url);
  onTestFinished(other.close);
  door.calls = other.gateway.calls;
  const idle = connect(Number(new URL(url).port), "127.0.0.1");
  await once(idle, "connect");
  const ended = once(idle, "close");
  const late = speak(url, [get("/v1/slow")]);
  while (slow.received.length === 0 || door.connections.size < 2) await new Promise(setImmediate);
  server.close();
  door.closeIdleConnections();
  await ended;
  release.resolve();
  const [answer] = readAnswers(await late, ["GET"]);
  expect([answer?.body.toString(), answer?.whole]).toEqual(["late", true]);
  expect(upstream.received).toEqual([]);
  expect(gateway.openCalls).toBe(0);
});

test("who asks for the connection to be closed is told that it is", async () => {
  const { door, url, gateway } = await openServer();
  door.calls = gateway.calls;
  const [answer] = readAnswers(await speak(url, [post("/v1/last", "", "Connection: close\r\n")]), ["POST"]);
  expect(answer?.body.toString()).toBe("/v1/last ");
  expect(answer && valuesOf(answer, "connection")).toEqual(["close"]);
});
