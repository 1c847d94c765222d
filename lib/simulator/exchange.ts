import type { IncomingMessage, ServerResponse } from "node:http";
import type { Lane } from "../anthropic/pools.ts";
import type { ApiError } from "./api-error.ts";
import type { Credential } from "./authentication.ts";
import { type LedgerEntry, type LedgerUsage, NO_USAGE } from "./ledger.ts";
import type { SimulatedClock } from "./simulated-clock.ts";

const RATE_LIMIT_HEADER = /^(anthropic-(ratelimit|fast|priority)-|x-ratelimit-|retry-after$)/;

const WORKSPACE = { "anthropic-workspace-id": "wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ" };

const CALL = { kind: "call" } as const;

/** Headers of the edge in front of the API, the same on every answer. */
const EDGE_HEADERS = {
  server: "cloudflare",
  via: "1.1 google",
  "cf-cache-status": "DYNAMIC",
  "x-robots-tag": "none",
  "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
};

/** One request and its answer: the ids, the waiting, the client's leaving, and the line in the ledger. */
export class Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly requestId: string;
  readonly clock: SimulatedClock;
  readonly arrivedMs: number;
  /** What is learnt of the call on its way, for the ledger. */
  model: string | null = null;
  pool: string | null = null;
  lane: Lane | null = null;
  fault: string | null = null;
  stopReason: string | null = null;
  streamed = false;
  billed = true;
  usage: LedgerUsage = { ...NO_USAGE };
  iterations: LedgerEntry["iterations"] = null;
  webSearchRequests = 0;
  serviceTier: LedgerEntry["serviceTier"] = null;
  speed: LedgerEntry["speed"] = null;
  inferenceGeo: string | null = null;
  transfer: LedgerEntry["transfer"] = null;
  /** By what the caller is known; null until that is checked. */
  credential: Credential | null = null;
  /** How errors are written; endpoints of another shape set their own. */
  errorBody = apiErrorBody;
  #organizationId: string;
  #pollMs: number;
  #status = 0;
  #errorType: string | null = null;
  #errorCode: string | null = null;
  #rateLimitHeaders: Record<string, string> = {};
  #gone = false;
  #closed = false;
  #hungUp = false;
  #wake: (() => void) | null = null;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    context: { requestId: string; organizationId: string; clock: SimulatedClock; pollMs: number },
  ) {
    this.request = request;
    this.response = response;
    // Glued, not resolved: a path such as `//` would be taken for a host, and be none.
    this.url = new URL(`http://simulator${request.url?.startsWith("/") ? request.url : "/"}`);
    this.requestId = context.requestId;
    this.clock = context.clock;
    this.arrivedMs = context.clock.now();
    this.#organizationId = context.organizationId;
    this.#pollMs = context.pollMs;
    response.on("close", () => {
      this.#gone = !response.writableFinished;
      this.#closed = true;
      this.#wake?.();
    });
  }

  /** The connection is closed and the answer is not whole: by the client, or by `hangUp`. */
  get gone(): boolean {
    return this.#gone;
  }

  /** The connection is closed, or the answer is whole. */
  get closed(): boolean {
    return this.#closed;
  }

  /** A request header as one string, whether it came once or often. */
  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return Array.isArray(value) ? value.join(",") : value;
  }

  /** Resolves at a simulated time, or as soon as the client leaves. */
  async sleepUntil(atMs: number): Promise<void> {
    while (!this.#closed) {
      const leftMs = atMs - this.clock.now();
      if (leftMs <= 0) return;
      await this.#pause(Math.min(this.#pollMs, Math.max(1, Math.ceil(this.clock.realMs(leftMs)))));
    }
  }

  /** Sends status and headers. Rate-limit headers are noted for the ledger as they are sent. */
  writeHead(status: number, headers: Record<string, string>): void {
    this.#status = status;
    for (const name in headers) {
      if (RATE_LIMIT_HEADER.test(name)) this.#rateLimitHeaders[name] = headers[name] ?? "";
    }
    this.response.sendDate = false;
    this.response.writeHead(status, {
      date: httpDate(this.clock.now()),
      ...headers,
      "request-id": this.requestId,
      "anthropic-organization-id": this.#organizationId,
      // Only a key belongs to a workspace.
      ...(this.credential === "key" ? WORKSPACE : null),
      ...EDGE_HEADERS,
    });
  }

  /** Writes a piece of a body, and waits for a client that reads more slowly than it is written. */
  async write(chunk: string | Uint8Array): Promise<void> {
    if (this.#gone || this.response.write(chunk)) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.response.once("drain", resolve);
    });
  }

  sendJson(status: number, body: object, headers: Record<string, string> = {}): void {
    const bytes = Buffer.from(JSON.stringify(body));
    this.writeHead(status, { "content-type": "application/json", "content-length": String(bytes.length), ...headers });
    this.response.end(this.request.method === "HEAD" ? undefined : bytes);
  }

  sendError(error: ApiError, headers: Record<string, string> = {}): void {
    if (this.response.headersSent || this.#gone) return;
    this.noteError(error);
    this.sendJson(error.status, this.errorBody(error, this.requestId), { ...headers, ...error.headers });
  }

  /** For an error that is told inside a stream whose status was 200. */
  noteError(error: ApiError): void {
    this.#errorType = error.type;
    this.#errorCode = error.errorCode;
  }

  /** Breaks the connection from this side: reset before the headers, destroyed after them. */
  hangUp(): void {
    this.#hungUp = true;
    const { socket } = this.response;
    if (this.response.headersSent) socket?.destroy();
    else socket?.resetAndDestroy();
  }

  ledgerEntry(): Omit<LedgerEntry, "sequence"> {
    const clientGone = this.#gone && !this.#hungUp;
    return {
      origin: CALL,
      requestId: this.requestId,
      at: new Date(this.arrivedMs).toISOString(),
      method: this.request.method ?? "GET",
      endpoint: this.url.pathname,
      model: this.model,
      pool: this.pool,
      lane: this.lane,
      status: this.#status === 0 && clientGone ? 499 : this.#status,
      errorType: this.#errorType,
      errorCode: this.#errorCode,
      stopReason: this.stopReason,
      usage: this.usage,
      iterations: this.iterations,
      webSearchRequests: this.webSearchRequests,
      serviceTier: this.serviceTier,
      speed: this.speed,
      inferenceGeo: this.inferenceGeo,
      billed: this.billed,
      streamed: this.streamed,
      clientGone,
      fault: this.fault,
      transfer: this.transfer,
      rateLimitHeaders: this.#rateLimitHeaders,
    };
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      const wake = done;
      this.#wake = wake;
      function done(): void {
        clearTimeout(timer);
        resolve();
      }
    });
  }
}

function apiErrorBody(error: ApiError, requestId: string): object {
  return error.body(requestId);
}

let dated = { second: Number.NaN, text: "" };

function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1_000);
  if (dated.second !== second) dated = { second, text: new Date(second * 1_000).toUTCString() };
  return dated.text;
}
