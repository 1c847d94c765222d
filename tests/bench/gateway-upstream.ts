import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { messageAnswer, messageEvents } from "../support/upstream.ts";

/**
 * The upstream of the gateway benchmark, a process: answers as the Messages API does, at once, with the headers of a
 * limit that is never met. Asked for a stream it sends 54 events, each a packet of its own; with `x-bench-hold` it
 * leaves off after the first and never ends.
 */
const EVENTS = messageEvents(Array.from({ length: 48 }, (_, index) => `word${index} of an answer, `)).map((event) =>
  Buffer.from(event),
);
const PLAIN = Buffer.from(
  JSON.stringify(
    messageAnswer({ input_tokens: 1200, output_tokens: 180 }, { content: [{ type: "text", text: "x".repeat(700) }] }),
  ),
);
const LIMITS = ["requests", "input-tokens", "output-tokens", "tokens"].flatMap((name) => [
  [`anthropic-ratelimit-${name}-limit`, "100000000000"],
  [`anthropic-ratelimit-${name}-remaining`, "100000000000"],
  [`anthropic-ratelimit-${name}-reset`, new Date().toISOString()],
]);
const HEADERS = Object.fromEntries([
  ...LIMITS,
  ["request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"],
  ["anthropic-organization-id", "0b7c6a3e-0000-4000-8000-000000000000"],
  ["strict-transport-security", "max-age=31536000; includeSubDomains; preload"],
  ["server", "cloudflare"],
  ["cf-ray", "8a1b2c3d4e5f6789-FRA"],
  ["x-robots-tag", "none"],
]);

const server = createServer((req, res) => {
  let isStream = false;
  req.once("data", (first: Buffer) => {
    // Gateways may write a body anew and in another order, but a short one still comes in one piece.
    isStream = first.length < 8_192 && first.includes('"stream":true');
  });
  req.on("data", () => {});
  req.on("end", () => answer(req, res, isStream));
});
server.listen(0, "127.0.0.1", 4_096, () => {
  process.send?.({ kind: "ready", url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});

function answer(req: IncomingMessage, res: ServerResponse, isStream: boolean): void {
  if (!isStream) {
    res.writeHead(200, { ...HEADERS, "content-type": "application/json", "content-length": PLAIN.length });
    res.end(PLAIN);
    return;
  }
  res.writeHead(200, { ...HEADERS, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  const isHeld = req.headers["x-bench-hold"] !== undefined;
  let at = 0;
  const next = () => {
    const event = EVENTS[at];
    at += 1;
    if (event === undefined) res.end();
    else {
      res.write(event);
      if (!isHeld) setImmediate(next);
    }
  };
  next();
}
