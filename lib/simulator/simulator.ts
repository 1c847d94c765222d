import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Tier } from "../anthropic/pools.ts";
import { type Clock, systemClock } from "../kit/clock.ts";
import { ApiError, methodNotAllowed, notFound } from "./api-error.ts";
import { control, parseFaults, parseLimits } from "./control.ts";
import { Exchange } from "./exchange.ts";
import type { FaultRates } from "./faults.ts";
import { Ledger } from "./ledger.ts";
import { parseVersion } from "./message-request.ts";
import { countTokens, createMessage } from "./messages-endpoint.ts";
import { getModel, listModels } from "./models-endpoint.ts";
import { type LimitOverrides, OrganizationLimits } from "./organization-limits.ts";
import type { MeterLimits } from "./pool-meter.ts";
import { PromptCache } from "./prompt-cache.ts";
import { seeded, wireId } from "./seeded.ts";
import { createSimulatedClock, type SimulatedClock } from "./simulated-clock.ts";
import type { Encoding } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";

export type SimulatorOptions = {
  /** 0, the default, takes any free port. */
  port?: number;
  host?: "127.0.0.1";
  /** Whose published limits apply where `limits` says nothing. Default `start`. */
  tier?: Tier;
  limits?: LimitOverrides;
  /** The same seed gives the same answers to the same bodies. Default 1. */
  seed?: number;
  /** 10 makes buckets, token speed and latency ten times as fast; all times told are then the simulator's. */
  timeScale?: number;
  /** Default Infinity: an answer is there at once. */
  tokensPerSecond?: number;
  /** From arrival to the first token. Default 0. */
  firstTokenMs?: number;
  /** Between pings while a stream is stalled. Default 10,000. */
  pingMs?: number;
  /** How long the fault `slow-headers` holds them back. Default 10,000. */
  slowHeadersMs?: number;
  /** How far the estimate of a prompt at admission may be off: 0.04 is ±4 %. Default 0. */
  inputEstimateError?: number;
  /** Encodes answers for clients that accept it. Default none. */
  encoding?: Encoding;
  clock?: Clock;
  faults?: FaultRates;
  /** Default: every key that starts with `sk-ant-`. */
  apiKeys?: readonly string[];
  organizationId?: string;
  /** Entries the ledger keeps; its sums cover all. 0 keeps none. Default 10,000. */
  ledgerCapacity?: number;
};

export type Simulator = {
  /** `http://127.0.0.1:PORT`, fit for ANTHROPIC_BASE_URL. */
  url: string;
  ledger: Pick<Ledger, "entries" | "sums" | "clear">;
  setLimits(limits: LimitOverrides): void;
  setFaults(faults: FaultRates): void;
  /** Use by somebody else that takes the pool's buckets down. */
  drain(pool: string, amounts: Partial<MeterLimits>): void;
  /** Levels of all pools met so far, now. */
  levels(): ReturnType<OrganizationLimits["levels"]>;
  /** Resolves when no call is open: the ledger is then whole. */
  idle(): Promise<void>;
  close(): Promise<void>;
};

/** A real timer never runs past this with a clock of the caller's own, which may move in between. */
const FOREIGN_CLOCK_POLL_MS = 5;
/** The longest timer Node takes. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** Starts a Claude API of its own on a loopback port. Rejects when the port is taken. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const baseClock = options.clock ?? systemClock;
  const timeScale = options.timeScale ?? 1;
  const clock = createSimulatedClock(baseClock, timeScale);
  const state = createState(options, timeScale);
  const ids = seeded(state.seed);
  const accepts = acceptor(options.apiKeys);
  const pollMs = baseClock === systemClock ? LONGEST_TIMER_MS : FOREIGN_CLOCK_POLL_MS;
  const open = new OpenCalls();

  const server = createServer((request, response) => {
    const requestId = wireId("req", ids);
    const exchange = new Exchange(request, response, {
      requestId,
      organizationId: state.organizationId,
      clock,
      pollMs,
    });
    open.enter();
    handle(exchange, state, accepts)
      .catch((error: unknown) => failWith(exchange, error))
      .finally(() => {
        if (exchange.url.pathname.startsWith("/v1/")) state.ledger.record(exchange.ledgerEntry());
        open.leave();
      });
  });
  // Pooled connections of patient clients must not be closed under them.
  server.keepAliveTimeout = 120_000;
  server.requestTimeout = 0;
  await listen(server, options.port ?? 0, options.host ?? "127.0.0.1");
  const { port } = server.address() as AddressInfo;
  return controls(`http://127.0.0.1:${port}`, server, state, clock, open);
}

function createState(options: SimulatorOptions, timeScale: number): SimulatorState {
  const seed = options.seed ?? 1;
  let draw = seed;
  return {
    limits: new OrganizationLimits(options.tier ?? "start", parseLimits(options.limits ?? {})),
    cache: new PromptCache(),
    ledger: new Ledger(options.ledgerCapacity ?? 10_000),
    faults: parseFaults(options.faults ?? {}),
    seed,
    timeScale,
    firstTokenMs: options.firstTokenMs ?? 0,
    tokensPerSecond: options.tokensPerSecond ?? Number.POSITIVE_INFINITY,
    pingMs: options.pingMs ?? 10_000,
    slowHeadersMs: options.slowHeadersMs ?? 10_000,
    inputEstimateError: options.inputEstimateError ?? 0,
    encoding: options.encoding ?? null,
    organizationId: options.organizationId ?? "3f6d1c3e-5d0c-4b7e-9a55-51a1d2b0c9aa",
    nextDraw: () => {
      draw = (Math.imul(draw, 1_664_525) + 1_013_904_223) >>> 0;
      return draw;
    },
  };
}

async function handle(exchange: Exchange, state: SimulatorState, accepts: (key: string) => boolean): Promise<void> {
  const { pathname } = exchange.url;
  const { method } = exchange.request;
  if (pathname.startsWith("/simulator/")) return control(exchange, state);
  if (pathname === "/api/hello") return exchange.sendJson(200, { message: "hello" });
  if (!pathname.startsWith("/v1/")) throw notFound();
  authenticate(exchange.request, accepts);
  if (pathname === "/v1/messages" || pathname === "/v1/messages/count_tokens") {
    if (method !== "POST") throw methodNotAllowed();
    return pathname === "/v1/messages" ? createMessage(exchange, state) : countTokens(exchange, state);
  }
  exchange.billed = false;
  if (pathname !== "/v1/models" && !/^\/v1\/models\/[^/]+$/.test(pathname)) throw notFound();
  if (method !== "GET") throw methodNotAllowed();
  const version = exchange.request.headers["anthropic-version"];
  parseVersion(Array.isArray(version) ? version[0] : version);
  const id = pathname.slice("/v1/models/".length);
  exchange.sendJson(200, id === "" ? listModels(exchange.url.searchParams) : getModel(id));
}

function failWith(exchange: Exchange, error: unknown): void {
  exchange.billed = false;
  exchange.sendError(error instanceof ApiError ? error : new ApiError(500, "api_error", "Internal server error"));
}

function acceptor(apiKeys: readonly string[] | undefined): (key: string) => boolean {
  if (!apiKeys) return (key) => key.startsWith("sk-ant-");
  const known = new Set(apiKeys);
  return (key) => known.has(key);
}

/** Either header carries a key: older SDKs send `x-api-key`, those of the new majors a bearer token. */
function authenticate(request: IncomingMessage, accepts: (key: string) => boolean): void {
  const apiKey = request.headers["x-api-key"];
  const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (typeof apiKey === "string" && apiKey !== "") {
    if (!accepts(apiKey)) throw new ApiError(401, "authentication_error", "invalid x-api-key");
  } else if (bearer === undefined) {
    throw new ApiError(401, "authentication_error", "x-api-key header is required");
  } else if (!accepts(bearer)) {
    throw new ApiError(401, "authentication_error", "Invalid bearer token");
  }
}

/** Counts the calls that are not ended, and tells when there are none. */
class OpenCalls {
  #count = 0;
  #waiting: (() => void)[] = [];

  enter(): void {
    this.#count += 1;
  }

  leave(): void {
    this.#count -= 1;
    if (this.#count > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function controls(
  url: string,
  server: Server,
  state: SimulatorState,
  clock: SimulatedClock,
  open: OpenCalls,
): Simulator {
  return {
    url,
    ledger: state.ledger,
    setLimits: (limits) => state.limits.setLimits(parseLimits(limits), clock.now()),
    setFaults: (faults) => {
      state.faults = parseFaults(faults);
    },
    drain: (pool, amounts) => state.limits.drain(pool, amounts, clock.now()),
    levels: () => state.limits.levels(clock.now()),
    idle: () => open.idle(),
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
      await open.idle();
    },
  };
}
