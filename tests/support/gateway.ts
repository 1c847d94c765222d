import { EventEmitter, once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import type { ObservedLimit } from "../../lib/anthropic/rate-limit-headers.ts";
import { type ClientTimeouts, createAgentServer } from "../../lib/gateway/agent-server.ts";
import { createGateway, type Gateway, type GatewayOptions } from "../../lib/gateway/gateway.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { silentLog } from "../../lib/kit/log.ts";
import type { Place } from "../../lib/limits/place.ts";
import type { CallPlace, PromptTokens } from "../../lib/usage/live-usage.ts";
import { CallRecord } from "../../lib/usage/schema.ts";

/** The server's own, Node's server behind it, which takes what is not plain, and a route handler's. */
export type Door = "socket" | "node" | "web";
export const DOORS: readonly Door[] = ["socket", "node", "web"];
/** Those that share least: enough where a call's time in the gateway is what counts, and not its bytes. */
export const UNLIKE_DOORS: readonly Door[] = ["socket", "web"];

/** Keeps what a gateway recorded, and lets tests wait for it. */
export class Records {
  readonly calls: CallRecord[] = [];
  readonly #events = new EventEmitter();

  record(call: CallRecord): void {
    // What is recorded must fit the contract to the letter.
    this.calls.push(CallRecord.parse(call));
    this.#events.emit("call");
  }

  async atLeast(count: number): Promise<CallRecord[]> {
    while (this.calls.length < count) await once(this.#events, "call");
    return this.calls;
  }

  async only(): Promise<CallRecord> {
    const [call] = await this.atLeast(1);
    if (!call || this.calls.length !== 1) throw new Error(`${this.calls.length} calls were recorded instead of one`);
    return call;
  }
}

export type LiveEvent =
  | { kind: "open"; place: CallPlace }
  | { kind: "prompt"; tokens: PromptTokens }
  | { kind: "progress"; bytes: number }
  | { kind: "leave" }
  | { kind: "close"; call: CallRecord };

export type OpenDoor = {
  url: string;
  gateway: Gateway;
  records: Records;
  live: LiveEvent[];
  observed: { place: Place; observed: ObservedLimit[]; sentAtMs: number }[];
  /** Ends what clients owe at a time of `performance.now()`. */
  sweep(nowMs: number): void;
  close(): Promise<void>;
};

export const AGENT_KEY = "hr_test_0123456789";
export const AGENT_KEY_ID = "01935f00-0000-7000-8000-000000000001";

/** A gateway before an upstream, behind a real HTTP server, through either door. */
export async function openDoor(
  door: Door,
  upstreamUrl: string,
  options: Partial<Omit<GatewayOptions, "upstream">> & {
    apiKey?: string | null;
    clients?: Partial<ClientTimeouts>;
  } = {},
): Promise<OpenDoor> {
  const records = new Records();
  const live: LiveEvent[] = [];
  const observed: OpenDoor["observed"] = [];
  const { apiKey = "sk-ant-upstream", clients, ...rest } = options;
  const gateway = createGateway({
    upstream: { name: "anthropic", baseUrl: upstreamUrl, apiKey },
    agentKeys: { find: (secret) => (secret === AGENT_KEY ? { id: AGENT_KEY_ID, name: "night-batch" } : null) },
    live: {
      open(place) {
        live.push({ kind: "open", place });
        return {
          prompt: (tokens) => live.push({ kind: "prompt", tokens }),
          progress: (bytes) => live.push({ kind: "progress", bytes }),
          produced: () => 0,
          leave: () => live.push({ kind: "leave" }),
          close: (call) => live.push({ kind: "close", call }),
        };
      },
    },
    limits: { observe: (place, limits, sentAtMs) => observed.push({ place, observed: limits, sentAtMs }) },
    recorder: records,
    clock: systemClock,
    log: silentLog,
    passThrough: true,
    believeLabels: true,
    ...rest,
  });
  const {
    server,
    door: fast,
    sweep,
  } = createAgentServer((req, res) => {
    if (door === "web") void serveWeb(gateway, req, res);
    else gateway.handleNode(req, res);
  }, clients);
  // Without calls to give them to, the socket door hands all connections to Node's server.
  if (door === "socket") fast.calls = gateway.calls;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async () => {
    await gateway.close(0);
    server.closeAllConnections();
    fast.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { url, gateway, records, live, observed, sweep, close };
}

/** What a framework does between a Node server and a route handler. */
async function serveWeb(gateway: Gateway, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const abort = new AbortController();
  res.on("close", () => abort.abort());
  res.on("error", () => {});
  const headers = new Headers();
  let hasBody = false;
  for (let at = 0; at + 1 < req.rawHeaders.length; at += 2) {
    const [name = "", value = ""] = req.rawHeaders.slice(at, at + 2);
    if (/^transfer-encoding$/i.test(name) || (/^content-length$/i.test(name) && Number(value) > 0)) hasBody = true;
    if (!/^(?:connection|transfer-encoding|keep-alive)$/i.test(name)) headers.append(name, value);
  }
  const body = hasBody ? (Readable.toWeb(req) as ReadableStream<Uint8Array>) : null;
  try {
    const request = new Request(`http://${req.headers.host}${req.url}`, {
      method: req.method ?? "GET",
      headers,
      body,
      signal: abort.signal,
      ...(body ? { duplex: "half" } : {}),
    });
    const response = await gateway.handleWeb(request);
    res.writeHead(response.status, response.statusText, [...response.headers].flat());
    if (response.body === null) res.end();
    else {
      res.flushHeaders();
      await pipeline(Readable.fromWeb(response.body as NodeReadableStream<Uint8Array>), res, { end: false });
      res.end();
    }
  } catch {
    // A real framework breaks the connection too when a body fails.
    if (res.headersSent) res.socket?.destroySoon();
    else res.destroy();
  }
}
