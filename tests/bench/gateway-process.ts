import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { AgentKeys } from "../../lib/access/agent-keys.ts";
import { createGateway } from "../../lib/gateway/gateway.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { LimitBook } from "../../lib/limits/limit-book.ts";
import { LiveUsage } from "../../lib/usage/live-usage.ts";
import { Spool } from "../../lib/usage/spool.ts";
import { messageAnswer, messageEvents } from "../support/upstream.ts";

/**
 * One server of the gateway benchmark, in a process of its own so that its CPU time is its own: the upstream, a bare
 * proxy as one writes it with Node and undici, or the gateway with everything on. Tells its address over IPC, answers
 * "cpu" with its CPU time in microseconds, and ends with its parent.
 */

/** A stream of 54 events. */
const EVENTS = messageEvents(Array.from({ length: 48 }, (_, index) => `word${index} of an answer, `)).map((event) =>
  Buffer.from(event),
);
const PLAIN = Buffer.from(
  JSON.stringify(messageAnswer({ input_tokens: 1200, output_tokens: 180 }, { content: [{ text: "x".repeat(700) }] })),
);
const LIMITS = ["requests", "input-tokens", "output-tokens", "tokens"].flatMap((name) => [
  [`anthropic-ratelimit-${name}-limit`, "2000000"],
  [`anthropic-ratelimit-${name}-remaining`, "1990000"],
  [`anthropic-ratelimit-${name}-reset`, "2026-11-23T08:00:00Z"],
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

function upstream(req: IncomingMessage, res: ServerResponse): void {
  req.resume();
  req.on("end", () => {
    if (req.headers["x-bench"] !== "stream") {
      res.writeHead(200, { ...HEADERS, "content-type": "application/json", "content-length": PLAIN.length });
      res.end(PLAIN);
      return;
    }
    res.writeHead(200, { ...HEADERS, "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
    let at = 0;
    const next = () => {
      const event = EVENTS[at];
      at += 1;
      if (event === undefined) res.end();
      else {
        res.write(event);
        // Each event is a packet of its own, as a model produces them.
        setImmediate(next);
      }
    };
    next();
  });
}

function bare(url: string): RequestListener {
  const pool = new Pool(url, { allowH2: false, headersTimeout: 0, bodyTimeout: 0 });
  return (req, res) => {
    const { host: _host, connection: _connection, "transfer-encoding": _encoding, ...headers } = req.headers;
    const { method = "GET", url: path = "/" } = req;
    pool.request({ path, method, headers, body: req }).then(
      (answer) => {
        const { connection: _c, "keep-alive": _k, "transfer-encoding": _t, ...answerHeaders } = answer.headers;
        res.writeHead(answer.statusCode, answerHeaders);
        answer.body.pipe(res);
      },
      () => res.destroy(),
    );
  };
}

async function gateway(url: string): Promise<{ listener: RequestListener; secret: string }> {
  const dir = mkdtempSync(join(tmpdir(), "headroom-bench-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const clock = systemClock;
  const live = new LiveUsage({ clock });
  const box = new SecretBox(Buffer.alloc(32, 7));
  const agentKeys = new AgentKeys({ database: { call: async (_name, _args, schema) => schema.parse({}) }, box, clock });
  const { secret } = await agentKeys.create({ name: "bench" });
  const { handleNode } = createGateway({
    ...{ agentKeys, live, clock, limits: new LimitBook({ clock, use: live }), log: silentLog },
    upstream: { name: "anthropic", baseUrl: url, apiKey: "sk-ant-bench" },
    recorder: new Spool(dir),
    passThrough: true,
    believeLabels: true,
  });
  return { listener: handleNode, secret };
}

const [role = "", target = ""] = process.argv.slice(2);
const { listener, secret } =
  role === "upstream"
    ? { listener: upstream, secret: "" }
    : role === "bare"
      ? { listener: bare(target), secret: "" }
      : await gateway(target);
const server = createServer(listener);
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.send?.({ kind: "ready", url: `http://127.0.0.1:${port}`, secret });
});
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ kind: "cpu", microseconds: user + system, rssBytes: process.memoryUsage.rss() });
});
process.on("disconnect", () => process.exit(0));
