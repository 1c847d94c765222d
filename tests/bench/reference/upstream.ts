import type { Job } from "../admission-workload.ts";
import type { Estimates } from "./estimates.ts";
import { type Expected, Ledger, type Snapshot } from "./ledger.ts";
import { n, Reserves } from "./reserves.ts";

const [REQ, IN, OUT] = [0, 1, 2] as const;
const HORIZONS_S = [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256] as const;
const USUAL_SPEED = 60;

export type Cost = { input: number; output: number };

/** A call that was sent and has not ended. */
export type Stream = {
  readonly job: Job;
  readonly sentS: number;
  readonly cost: Cost;
  readonly expected: Expected;
  readonly snapshot: Snapshot;
  firstS: number | null;
  produced: number;
  charged: number;
  speed: number;
  rest: number;
};

/** One upstream key: its ledger, open streams, reserves and ramp, and the gate before it. */
export class Upstream {
  readonly ledger = new Ledger();
  readonly reserves = new Reserves();
  readonly streams = new Set<Stream>();
  readonly #estimates: Estimates;
  #drain = HORIZONS_S.map(() => 0);
  #refreshedS = 0;
  #made = 0;
  #unanswered = 0;
  #blockedUntilS = 0;
  readonly #ramp = {
    rate: Number.POSITIVE_INFINITY,
    tokens: 1,
    cutS: -10,
    stepS: 0,
    offS: 0,
    admitted: 0,
    sentS: 0,
    nowS: 0,
  };

  constructor(estimates: Estimates) {
    this.#estimates = estimates;
  }

  tick(nowS: number): void {
    this.ledger.refill(nowS);
    const ramp = this.#ramp;
    if (Number.isFinite(ramp.rate)) {
      ramp.tokens = Math.min(2, ramp.tokens + ramp.rate * (nowS - ramp.nowS));
      for (; nowS - ramp.stepS >= 5; ramp.stepS += 5) ramp.rate = Math.min(1.5, 1.25 * ramp.rate);
      if (nowS >= ramp.offS) ramp.rate = Number.POSITIVE_INFINITY;
    }
    ramp.nowS = nowS;
    if (nowS - this.#refreshedS >= 0.1) this.refresh(nowS);
  }

  /** What would be left of the emptiest bucket, as a share of it. */
  roomAfter(cost: Cost): number {
    if (!this.ledger.isKnown) return 0.5;
    const { level, capacity } = this.ledger;
    const need = [1, cost.input, cost.output];
    return Math.min(...need.map((one, d) => (n(level, d) - one) / n(capacity, d)));
  }

  allows(job: Job, cost: Cost, own: number, gatedAs: number, standing: number, nowS: number): boolean {
    if (nowS < this.#blockedUntilS) return false;
    const { ledger } = this;
    if (!ledger.isKnown) return this.#unanswered < 3;
    const { level, capacity, rate } = ledger;
    const floor = [REQ, IN, OUT].map((d) => this.reserves.floor(gatedAs, d, standing, ledger) * n(capacity, d));
    const isIdle = this.streams.size === 0;
    const requests = 1 + n(floor, REQ);
    if (n(level, REQ) < (isIdle ? Math.min(requests, Math.max(1, 0.97 * n(capacity, REQ))) : requests)) return false;
    if (n(level, IN) < Math.min(cost.input + n(floor, IN), 0.97 * n(capacity, IN))) return false;
    if (own !== 0 && Number.isFinite(this.#ramp.rate) && this.#ramp.tokens < Math.min(this.#seconds(cost), 1.5))
      return false;
    if (ledger.mode === "reserve") {
      return n(level, OUT) >= Math.min(job.maxTokens + 0.3 * n(floor, OUT), 0.97 * n(capacity, OUT));
    }
    if (isIdle && n(level, OUT) >= 0.97 * n(capacity, OUT)) return true;
    return this.#forecastAllows(cost, own, gatedAs, n(floor, OUT), {
      level: n(level, OUT),
      brim: n(capacity, OUT),
      rate: n(rate, OUT),
    });
  }

  send(job: Job, cost: Cost, nowS: number): Stream {
    const { ledger } = this;
    ledger.give(REQ, -1);
    ledger.give(IN, -cost.input);
    if (ledger.mode === "reserve") ledger.give(OUT, -job.maxTokens);
    this.#drain = this.#drain.map((sum, k) => sum + this.#newDrain(cost.output, n(HORIZONS_S, k)));
    this.#unanswered += 1;
    const ramp = this.#ramp;
    const seconds = ledger.isKnown ? this.#seconds(cost) : 0;
    ramp.tokens -= Number.isFinite(ramp.rate) ? seconds : 0;
    ramp.admitted = ramp.admitted * Math.exp(-(nowS - ramp.sentS) / 10) + seconds / 10;
    ramp.sentS = nowS;
    const state = { firstS: null, produced: 0, charged: 0, speed: USUAL_SPEED, rest: cost.output };
    const known = { expected: ledger.expected(), snapshot: this.#snapshot(nowS, job.maxTokens) };
    const stream: Stream = { job, sentS: nowS, cost, ...state, ...known };
    this.streams.add(stream);
    return stream;
  }

  /** The first token has come, and with it what of the prompt counts. */
  head(stream: Stream, uncached: number, nowS: number): void {
    this.ledger.give(IN, stream.cost.input - uncached);
    stream.expected.level[IN] = n(stream.expected.level, IN) + stream.cost.input - uncached;
    stream.firstS = nowS;
    this.#unanswered = 0;
    this.refresh(nowS);
  }

  progress(stream: Stream, produced: number): void {
    const more = Math.max(0, Math.min(produced, stream.job.maxTokens) - stream.produced);
    stream.produced += more;
    this.#made += more;
  }

  end(stream: Stream, output: number, nowS: number): void {
    this.streams.delete(stream);
    const { ledger } = this;
    if (ledger.mode === "continuous") ledger.give(OUT, stream.charged - output);
    else ledger.give(OUT, (ledger.mode === "reserve" ? stream.job.maxTokens : 0) - output);
    this.#made += output - stream.produced;
    this.refresh(nowS);
  }

  refuse(stream: Stream, nowS: number): void {
    this.streams.delete(stream);
    const { ledger } = this;
    ledger.give(REQ, 1);
    ledger.give(IN, stream.cost.input);
    if (ledger.mode === "reserve") ledger.give(OUT, stream.job.maxTokens);
    this.#unanswered = 0;
    this.refresh(nowS);
  }

  cut(how: { factor: number; floor: number; holdS: number }, blockedS: number, nowS: number): void {
    const ramp = this.#ramp;
    this.#blockedUntilS = Math.max(this.#blockedUntilS, nowS + blockedS);
    if (nowS - ramp.cutS < 2) return;
    const current = Number.isFinite(ramp.rate) ? ramp.rate : Math.max(how.floor, ramp.admitted);
    ramp.rate = Math.max(how.floor, how.factor * current);
    ramp.tokens = 0;
    ramp.cutS = nowS;
    ramp.stepS = nowS;
    ramp.offS = Math.max(ramp.offS, nowS + how.holdS);
  }

  /** Charges what streams have produced, and forecasts what is to come. */
  refresh(nowS: number): void {
    this.#refreshedS = nowS;
    const { mode } = this.ledger;
    this.#drain = HORIZONS_S.map(() => 0);
    for (const stream of this.streams) {
      if (mode === "continuous") this.ledger.give(OUT, stream.charged - stream.produced);
      stream.charged = stream.produced;
      const sinceFirstS = stream.firstS === null ? 0 : nowS - stream.firstS;
      stream.speed = sinceFirstS >= 2 && stream.produced > 0 ? stream.produced / sinceFirstS : USUAL_SPEED;
      stream.rest = this.#estimates.remaining(stream.job.agent, stream.produced, stream.job.maxTokens);
      const delayS = stream.firstS === null ? Math.max(0, 1 - (nowS - stream.sentS)) : 0;
      this.#drain = this.#drain.map((sum, k) => sum + this.#streamDrain(stream, delayS, n(HORIZONS_S, k)));
    }
  }

  /** The output level, with all that is to flow and critical's worst burst, at every step of the grid. */
  #forecastAllows(
    cost: Cost,
    own: number,
    gatedAs: number,
    floor: number,
    { level, brim, rate }: { level: number; brim: number; rate: number },
  ): boolean {
    if (level < floor) return false;
    let plain = level;
    let burst = level;
    let before = { s: 0, drain: 0, burst: 0 };
    for (const [k, horizonS] of HORIZONS_S.entries()) {
      const drain = n(this.#drain, k) + this.#newDrain(cost.output, horizonS);
      const asked = this.reserves.burst(horizonS, this.ledger);
      const change = rate * (horizonS - before.s) - (drain - before.drain);
      plain = Math.min(brim, plain + change);
      burst = Math.min(brim, burst + change - (asked - before.burst));
      before = { s: horizonS, drain, burst: asked };
      if (plain < floor && (own !== 0 || horizonS <= 2)) return false;
      if (gatedAs !== 0 && burst < 0.02 * brim) return false;
    }
    return true;
  }

  #streamDrain({ produced, rest, speed }: Stream, delayS: number, horizonS: number): number {
    const { mode } = this.ledger;
    if (mode === "reserve") return 0;
    if (mode === "continuous") return Math.min(speed * Math.max(0, horizonS - delayS), rest);
    return rest / speed <= horizonS ? produced + rest : 0;
  }

  #newDrain(output: number, horizonS: number): number {
    const { mode } = this.ledger;
    if (mode === "reserve") return 0;
    if (mode === "continuous") return Math.min(USUAL_SPEED * Math.max(0, horizonS - 0.8), output);
    return output / USUAL_SPEED <= horizonS ? output : 0;
  }

  #seconds({ input, output }: Cost): number {
    return Math.max(input / n(this.ledger.rate, IN), output / n(this.ledger.rate, OUT));
  }

  #snapshot(sentS: number, ownMaxTokens: number): Snapshot {
    let open = 0;
    let held = ownMaxTokens;
    for (const stream of this.streams) {
      open += stream.produced;
      held += stream.job.maxTokens - stream.produced;
    }
    return { sentS, made: this.#made, open, held };
  }
}
