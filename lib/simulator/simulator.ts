import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Tier } from "../anthropic/pools.ts";
import { type Clock, systemClock } from "../kit/clock.ts";
import { type AccelerationOptions, DEFAULT_ACCELERATION } from "./acceleration.ts";
import type { Agent } from "./agents-endpoint.ts";
import { ApiError, notFound } from "./api-error.ts";
import { type Acceptor, acceptor, authenticate } from "./authentication.ts";
import { Background, OpenCalls } from "./background.ts";
import { chatErrorBody } from "./chat-rendering.ts";
import { control, parseFaults, parseLimits } from "./control.ts";
import type { Environment } from "./environments-endpoint.ts";
import { Exchange } from "./exchange.ts";
import type { FaultRates } from "./faults.ts";
import { FileStore } from "./file-store.ts";
import { Ledger } from "./ledger.ts";
import type { MessageBatch } from "./message-batch.ts";
import { type LimitOverrides, OrganizationLimits } from "./organization-limits.ts";
import type { Accounting, MeterLimits } from "./pool-meter.ts";
import { PromptCache } from "./prompt-cache.ts";
import { ResourceStore } from "./resource-store.ts";
import { dispatch } from "./router.ts";
import { seeded, wireId } from "./seeded.ts";
import type { Session } from "./session.ts";
import { createSimulatedClock } from "./simulated-clock.ts";
import type { Encoding } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";
import { SkillStore } from "./skills-endpoint.ts";
import { DEFAULT_SUBSCRIPTION, Subscription, type SubscriptionOptions } from "./subscription.ts";
import type { UserProfile } from "./user-profiles-endpoint.ts";

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
  /** From a batch's creation to its end. Default 0: whoever asks next finds it ended. */
  batchMs?: number;
  /** When output is charged against its limit. Default `continuous`. */
  accounting?: Accounting;
  /** A limit on growth: `{}` is the model of the admission benchmark. Default null: there is none. */
  acceleration?: Partial<AccelerationOptions> | null;
  /** What callers with a claude.ai login (a bearer token `sk-ant-oat…`) may use. */
  subscription?: Partial<SubscriptionOptions>;
  /** How far the estimate of a prompt at admission may be off: 0.04 is ±4 %. Default 0. */
  inputEstimateError?: number;
  /** Encodes answers for clients that accept it. Default none. */
  encoding?: Encoding;
  /** What its cost report says of the list price: 1.1 is a tenth too much. Default 1. */
  priceFactor?: number;
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
  /** Its own books. Batches whose time has come are in them as soon as they are looked at. */
  readonly ledger: Pick<Ledger, "entries" | "sums" | "clear">;
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
  const ids = seeded(options.seed ?? 1);
  const accepts = acceptor(options.apiKeys);
  const pollMs = baseClock === systemClock ? LONGEST_TIMER_MS : FOREIGN_CLOCK_POLL_MS;
  const open = new OpenCalls();
  const background = new Background(clock, pollMs, open);
  const state = createState(options, timeScale, ids, background);

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
  return controls(`http://127.0.0.1:${port}`, server, state, background, open);
}

function createState(
  options: SimulatorOptions,
  timeScale: number,
  ids: () => number,
  background: Background,
): SimulatorState {
  const seed = options.seed ?? 1;
  let draw = seed;
  const acceleration = options.acceleration ? { ...DEFAULT_ACCELERATION, ...options.acceleration } : null;
  const meters = { accounting: options.accounting ?? "continuous", acceleration };
  const state: SimulatorState = {
    limits: new OrganizationLimits(options.tier ?? "start", parseLimits(options.limits ?? {}), meters),
    subscription: new Subscription({ ...DEFAULT_SUBSCRIPTION, ...options.subscription }),
    cache: new PromptCache(),
    ledger: new Ledger(options.ledgerCapacity ?? 10_000),
    faults: parseFaults(options.faults ?? {}),
    seed,
    timeScale,
    firstTokenMs: options.firstTokenMs ?? 0,
    tokensPerSecond: options.tokensPerSecond ?? Number.POSITIVE_INFINITY,
    pingMs: options.pingMs ?? 10_000,
    slowHeadersMs: options.slowHeadersMs ?? 10_000,
    batchMs: options.batchMs ?? 0,
    inputEstimateError: options.inputEstimateError ?? 0,
    encoding: options.encoding ?? null,
    priceFactor: options.priceFactor ?? 1,
    organizationId: options.organizationId ?? "3f6d1c3e-5d0c-4b7e-9a55-51a1d2b0c9aa",
    nextDraw: () => {
      draw = (Math.imul(draw, 1_664_525) + 1_013_904_223) >>> 0;
      return draw;
    },
    ids,
    batches: new ResourceStore<MessageBatch>("Message Batch"),
    files: new FileStore(),
    skills: new SkillStore(),
    userProfiles: new ResourceStore<UserProfile>("User profile"),
    agents: new ResourceStore<Agent>("Agent"),
    environments: new ResourceStore<Environment>("Environment", "environment_not_found"),
    sessions: new ResourceStore<Session>("Session"),
    newId: (prefix) => wireId(prefix, ids),
    now: () => background.clock.now(),
    sleepUntil: (atMs, signal) => background.sleepUntil(atMs, signal),
    inBackground: (work) => background.run(work),
    settleBatches: (nowMs) => {
      for (const batch of state.batches.list().reverse()) batch.settle(state, nowMs);
    },
  };
  return state;
}

async function handle(exchange: Exchange, state: SimulatorState, accepts: Acceptor): Promise<void> {
  const { pathname } = exchange.url;
  if (pathname.startsWith("/v1/")) {
    if (pathname === "/v1/chat/completions") exchange.errorBody = chatErrorBody;
    exchange.credential = authenticate(exchange.request, accepts);
    return dispatch(exchange, state);
  }
  if (pathname.startsWith("/simulator/")) return control(exchange, state);
  if (pathname === "/api/hello") return exchange.sendJson(200, { message: "hello" });
  throw notFound();
}

function failWith(exchange: Exchange, error: unknown): void {
  exchange.billed = false;
  exchange.sendError(error instanceof ApiError ? error : new ApiError(500, "api_error", "Internal server error"));
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
  background: Background,
  open: OpenCalls,
): Simulator {
  const { clock } = background;
  return {
    url,
    get ledger() {
      state.settleBatches(clock.now());
      return state.ledger;
    },
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
      for (const session of state.sessions.list()) session.end("session.status_terminated");
      await closed;
      await open.idle();
      await state.files.close();
    },
  };
}
