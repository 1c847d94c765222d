import { negotiate, openSink } from "./answer-sink.ts";
import { overloaded } from "./api-error.ts";
import type { CallPlan } from "./call-plan.ts";
import type { Exchange } from "./exchange.ts";
import type { Fault } from "./faults.ts";
import { toLedgerIterations, toLedgerUsage } from "./ledger.ts";
import { Pace } from "./pace.ts";
import type { Rendering } from "./rendering.ts";
import type { Wishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";
import { billedUsage, tallyAt } from "./turns.ts";

/** A stream sends what it has made this often, in real time. */
const TICK_MS = 40;

export type Delivery = {
  exchange: Exchange;
  state: SimulatorState;
  wishes: Wishes;
  plan: CallPlan;
  rendering: Rendering;
  streamed: boolean;
  fault: Fault | null;
  /** Taken at admission, sent when the answer begins. */
  headers: Record<string, string>;
  /** What the estimate at admission was off by. */
  inputCorrection: number;
  /** Puts the prompt into the cache. */
  commit(nowMs: number): void;
};

const BROKEN_OFF: readonly (Fault | null)[] = ["stall", "cut", "error-event"];

/** Waits for the first token, then makes the answer at its pace, and books what came of it. */
export async function deliver(delivery: Delivery): Promise<void> {
  const { exchange, state, wishes, plan, fault, streamed } = delivery;
  const { answer, charge } = plan;
  const slowMs = fault === "slow-headers" ? state.slowHeadersMs : 0;
  const startMs = exchange.arrivedMs + (wishes.firstTokenMs ?? state.firstTokenMs) + slowMs;
  if (startMs > exchange.clock.now()) await exchange.sleepUntil(startMs);
  if (exchange.gone) {
    charge.abandon(exchange.clock.now());
    return;
  }
  const beganMs = exchange.clock.now();
  delivery.commit(beganMs);
  if (delivery.inputCorrection !== 0) charge.correctInput(delivery.inputCorrection, beganMs);
  const streamBreaks = streamed && BROKEN_OFF.includes(fault);
  const total = streamBreaks ? Math.floor(answer.outputTokens / 2) : answer.outputTokens;
  const pace = new Pace(total, wishes.tokensPerSecond ?? state.tokensPerSecond, startMs);
  charge.begin(pace, beganMs);
  const turns = new TurnClock(plan);
  turns.advance(pace.producedAt(beganMs), beganMs);
  try {
    await (streamed ? stream(delivery, pace, turns) : plain(delivery, pace, turns));
  } finally {
    const endedMs = exchange.clock.now();
    pace.stop(endedMs);
    const produced = pace.producedAt(endedMs);
    turns.advance(produced, endedMs);
    charge.end(pace, endedMs);
    exchange.stopReason = exchange.gone || BROKEN_OFF.includes(fault) ? null : answer.stopReason;
    const tally = tallyAt(plan.turns, produced);
    exchange.usage = toLedgerUsage(plan.billed ? billedUsage(tally) : tally);
    exchange.webSearchRequests = tally.webSearches;
    if (plan.listsIterations) exchange.iterations = toLedgerIterations(tally);
  }
}

/** Charges each turn when it begins. */
class TurnClock {
  #plan: CallPlan;
  #index = 0;

  constructor(plan: CallPlan) {
    this.#plan = plan;
  }

  advance(produced: number, nowMs: number): void {
    for (let turn = this.#plan.turns[this.#index]; turn && turn.fromOutput <= produced; ) {
      turn.onBegin?.(nowMs);
      this.#index += 1;
      turn = this.#plan.turns[this.#index];
    }
  }

  /** How much of the answer is made when the next one begins; Infinity when all have begun. */
  get nextFrom(): number {
    return this.#plan.turns[this.#index]?.fromOutput ?? Number.POSITIVE_INFINITY;
  }
}

async function plain(delivery: Delivery, pace: Pace, turns: TurnClock): Promise<void> {
  const { exchange, fault } = delivery;
  if (fault === "stall") return exchange.sleepUntil(Number.POSITIVE_INFINITY);
  while (turns.nextFrom < Number.POSITIVE_INFINITY && !exchange.gone) {
    await exchange.sleepUntil(pace.timeOf(turns.nextFrom));
    const nowMs = exchange.clock.now();
    turns.advance(pace.producedAt(nowMs), nowMs);
  }
  await exchange.sleepUntil(pace.endMs);
  if (exchange.gone) return;
  const body = delivery.rendering.whole();
  const encoding = encodingOf(delivery);
  const headers = { ...delivery.headers, "content-type": "application/json" };
  if (encoding !== null) {
    exchange.writeHead(200, { ...headers, "content-encoding": encoding, vary: "Accept-Encoding" });
    openSink(exchange, encoding).end(body);
    return;
  }
  exchange.writeHead(200, { ...headers, "content-length": String(Buffer.byteLength(body)) });
  if (fault === "cut") {
    exchange.response.write(body.slice(0, body.length / 2), () => exchange.hangUp());
    return;
  }
  exchange.response.end(body);
}

async function stream(delivery: Delivery, pace: Pace, turns: TurnClock): Promise<void> {
  const { exchange, state, rendering, fault } = delivery;
  const encoding = encodingOf(delivery);
  exchange.writeHead(200, {
    ...delivery.headers,
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    ...(encoding === null ? {} : { "content-encoding": encoding, vary: "Accept-Encoding" }),
  });
  const sink = openSink(exchange, encoding);
  let waiting = rendering.open();
  const tickMs = TICK_MS * state.timeScale;
  for (;;) {
    const nowMs = exchange.clock.now();
    const produced = pace.producedAt(nowMs);
    turns.advance(produced, nowMs);
    waiting += rendering.advance(produced);
    if (nowMs >= pace.endMs) break;
    sink.write(waiting);
    waiting = "";
    await exchange.sleepUntil(Math.min(nowMs + tickMs, pace.endMs));
    if (exchange.gone) return;
  }
  if (fault === "stall") return stall(delivery, (text) => sink.write(text), waiting);
  if (fault === "cut") {
    sink.write(waiting);
    exchange.response.write("", () => exchange.hangUp());
    return;
  }
  if (fault === "error-event") {
    const error = overloaded();
    exchange.noteError(error);
    sink.end(waiting + rendering.fail(error));
    return;
  }
  sink.end(waiting + rendering.close());
}

/** Nothing but pings until the client has had enough. */
async function stall(delivery: Delivery, write: (text: string) => void, waiting: string): Promise<void> {
  const { exchange, state, rendering } = delivery;
  write(waiting);
  while (!exchange.gone) {
    await exchange.sleepUntil(exchange.clock.now() + state.pingMs);
    write(rendering.ping);
  }
}

function encodingOf({ exchange, state, wishes }: Delivery): ReturnType<typeof negotiate> {
  const accepted = exchange.request.headers["accept-encoding"];
  return negotiate(wishes.encoding ?? state.encoding, Array.isArray(accepted) ? accepted.join(",") : accepted);
}
