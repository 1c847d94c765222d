import type { Lane } from "../anthropic/pools.ts";
import type { SendSnapshot } from "./accounting-detector.ts";
import { Caution } from "./caution.ts";
import { CLASS_INDEXES, className } from "./classes.ts";
import { ALL, type Dimension, dimensionOf, IN, type LimitReadings, limiterOf, OUT, REQ } from "./dimensions.ts";
import { type Demand, findObstacle } from "./gate.ts";
import { type Expectation, expectNow, HeaderObserver } from "./header-observer.ts";
import { Ledger } from "./ledger.ts";
import { type OpenStream, OpenStreams } from "./open-streams.ts";
import { Ramp } from "./ramp.ts";
import { isLimit, type RefusalAction } from "./refusal-action.ts";
import { Reserves } from "./reserves.ts";
import type { HeldBy, LedgerState, TrafficClass } from "./schema.ts";
import { type KnownLimits, UntoldLimits } from "./untold-limits.ts";

/** Sends that may be unanswered while nothing is known of the limits. */
const PROBES = 3;
const MAX_WINDOW = 1_000;
/** Where limits are expected, each silence of so long lets one more go: who is refused hears of it sooner. */
const SILENCE_S = 2;
/** The share of a bucket below which the mirror may be wrong by all that is left: only critical and owed calls go so deep. */
const NEARLY_EMPTY = 0.1;

/** A call that is out: what the mirror charged for it, and what it looked like then. */
export type Sending = {
  readonly stream: OpenStream;
  readonly expected: Expectation;
  readonly snapshot: SendSnapshot;
  /** Input charged: the estimate, then what the answer's head said. */
  input: number;
  hasHead: boolean;
};

/** What keeps a call, and for how long about. */
export type Held = { heldBy: HeldBy; waitS: number };

/** Everything known of one pool at one upstream: its buckets, the streams that drain them, the reserves, the ramp. */
export class Mirror {
  readonly upstream: string;
  readonly pool: string;
  readonly lane: Lane;
  readonly ledger: Ledger;
  readonly streams: OpenStreams;
  readonly reserves: Reserves;
  readonly ramp: Ramp;
  usedS: number;
  /** Whether any call was let in. */
  hasAnswered = false;
  readonly #observer: HeaderObserver;
  readonly #caution = new Caution();
  readonly #untold: UntoldLimits;
  #heardS: number;
  #pausedUntilS = Number.NEGATIVE_INFINITY;
  #sentS = Number.NEGATIVE_INFINITY;
  #unanswered = 0;
  /** Unanswered sends allowed at an upstream that tells no limits: one more for each that it let in, a third less for a 429. */
  #window = PROBES;

  constructor(
    place: { upstream: string; pool: string; lane: Lane },
    options: { learnsDrift: boolean; expected: KnownLimits },
    nowS: number,
  ) {
    this.upstream = place.upstream;
    this.pool = place.pool;
    this.lane = place.lane;
    this.ledger = new Ledger(nowS);
    this.#untold = new UntoldLimits(this.ledger, options.expected);
    this.streams = new OpenStreams(this.ledger);
    this.reserves = new Reserves(this.ledger, nowS);
    this.ramp = new Ramp(nowS);
    this.usedS = nowS;
    this.#heardS = nowS;
    const onTakenUnseen = (dimension: Dimension, amount: number) =>
      this.reserves.takenUnseen(dimension, amount, this.#heardS);
    this.#observer = new HeaderObserver(this.ledger, { learnsDrift: options.learnsDrift, onTakenUnseen }, nowS);
  }

  tick(nowS: number): void {
    this.ledger.refill(nowS);
    this.ramp.tick(nowS);
    this.streams.refresh(nowS);
  }

  /** What keeps a call from being sent here now; null when it may go. */
  obstacle(
    demand: Demand,
    as: { gatedAs: Demand["class"]; inputAs?: Demand["class"] },
    standing: number,
    nowS: number,
  ): Held | null {
    if (nowS < this.#pausedUntilS) return held("pause", this.#pausedUntilS - nowS);
    if (!this.ledger.known) return this.#mayProbe(nowS) ? null : held("probing", 1);
    const { ledger, streams, reserves } = this;
    const seconds = this.#seconds(demand);
    if (!this.ramp.allows(seconds, demand.class === 0)) return held("ramp", seconds / this.ramp.rate);
    const obstacle = findObstacle({ ledger, streams, reserves, standing }, demand, as.gatedAs, as.inputAs);
    if (obstacle === null) return this.#wary(nowS);
    const { by, limiter, shortBy } = obstacle;
    const waitS = shortBy / Math.max(1e-6, ledger.netRate(dimensionOf(limiter)));
    return { heldBy: { by, limiter, class: null }, waitS };
  }

  /** The room that would be left, as a share of the capacity; the least of all limiters. Unknown limits count as half. */
  roomAfter(demand: Demand): number {
    if (!this.ledger.known) return 0.5;
    let least = 1;
    for (const [dimension, need] of [[REQ, 1] as const, [IN, demand.input] as const, [OUT, demand.output] as const]) {
      if (!this.ledger.isKnown(dimension)) continue;
      least = Math.min(least, (this.ledger.level(dimension) - need) / this.ledger.capacity(dimension));
    }
    return least;
  }

  send(call: { demand: Demand; shape: OpenStream["shape"]; streams: boolean }, nowS: number): Sending {
    const { ledger, streams } = this;
    const { demand } = call;
    this.usedS = nowS;
    this.#sentS = nowS;
    this.#unanswered += 1;
    ledger.refill(nowS);
    ledger.take(REQ, 1);
    ledger.takeInput(demand.input);
    const stream = streams.begin(call.shape, demand.maxTokens, call.streams, demand.output, nowS);
    const seconds = this.#seconds(demand);
    this.ramp.send(seconds, nowS);
    this.#caution.send(seconds, nowS);
    return {
      stream,
      expected: expectNow(ledger),
      snapshot: { sentS: nowS, made: streams.made, open: streams.open, held: streams.held },
      input: demand.input,
      hasHead: false,
    };
  }

  /** The answer has begun. `countedInput` is what its prompt counts; null where that comes only at the end. */
  head(sending: Sending, countedInput: number | null, readings: LimitReadings, nowS: number): void {
    this.ledger.refill(nowS);
    if (!sending.hasHead) {
      this.#unanswered -= 1;
      this.#window = Math.min(MAX_WINDOW, this.#window + 1);
    }
    if (sending.stream.firstByteS === null) sending.stream.firstByteS = nowS;
    this.#settleInput(sending, countedInput);
    this.streams.renew(sending.stream, nowS);
    if (sending.hasHead) return;
    sending.hasHead = true;
    this.hasAnswered = true;
    this.#observe(readings, sending, nowS);
    this.#untold.answered();
    if (!this.#observer.hasHeard) {
      this.#untold.letIn({ input: sending.input, output: sending.stream.flow.remaining }, nowS);
    }
  }

  end(sending: Sending, actual: { countedInput: number | null; output: number | null }, nowS: number): void {
    this.ledger.refill(nowS);
    if (!sending.hasHead) this.#unanswered -= 1;
    this.#settleInput(sending, actual.countedInput);
    this.streams.end(sending.stream, actual.output ?? sending.stream.produced, nowS);
  }

  /** The upstream refused before the first byte: everything is given back, then the refusal's headers are heard. */
  refused(sending: Sending, readings: LimitReadings, action: RefusalAction, nowS: number): void {
    const { ledger } = this;
    ledger.refill(nowS);
    this.#unanswered -= 1;
    if (isLimit(action)) this.#window = Math.max(1, 0.7 * this.#window);
    ledger.give(REQ, 1);
    ledger.takeInput(-sending.input);
    this.streams.refuse(sending.stream);
    this.#observe(readings, null, nowS);
    if (action.kind === "bucket" && !this.#observer.hasHeard) this.#untold.refused(nowS);
  }

  pause(untilS: number): void {
    this.#pausedUntilS = Math.max(this.#pausedUntilS, untilS);
    this.ramp.rest(untilS);
  }

  /** When a pause ends; null when there is none. */
  pausedForS(nowS: number): number {
    return Math.max(0, this.#pausedUntilS - nowS);
  }

  state(standing: number, nowS: number): LedgerState {
    this.tick(nowS);
    const { ledger, upstream, pool, lane } = this;
    return {
      ...{ upstream, pool, lane },
      known: ledger.known,
      accounting: ledger.accounting,
      levels: ledger.knownDimensions.map((dimension) => {
        const share = (index: (typeof CLASS_INDEXES)[number]) => this.reserves.share(index, dimension, standing);
        return {
          limiter: limiterOf(dimension),
          limit: ledger.limit(dimension),
          level: ledger.level(dimension),
          capacity: ledger.capacity(dimension),
          reserves: Object.fromEntries(CLASS_INDEXES.map((index) => [className(index), share(index)])) as Record<
            TrafficClass,
            number
          >,
        };
      }),
      openStreams: this.streams.size,
      rampRate: this.ramp.isOn ? this.ramp.rate : null,
      pausedForS: this.pausedForS(nowS),
    };
  }

  /** Whether a call may go to an upstream whose limits are to be learnt from its answer. */
  #mayProbe(nowS: number): boolean {
    return this.#unanswered < this.#window || (this.#untold.some && nowS >= this.#sentS + SILENCE_S);
  }

  /** What there seems to be room for goes in turn where there may be none. */
  #wary(nowS: number): Held | null {
    const { ledger } = this;
    if (this.#caution.allows(nowS)) return null;
    for (const dimension of [IN, OUT, ALL] as const) {
      if (!ledger.isKnown(dimension) || ledger.level(dimension) >= NEARLY_EMPTY * ledger.capacity(dimension)) continue;
      const heldBy: HeldBy = { by: "limiter", limiter: limiterOf(dimension), class: null };
      return { heldBy, waitS: this.#caution.waitS(nowS) };
    }
    return null;
  }

  #observe(readings: LimitReadings, sending: Sending | null, nowS: number): void {
    this.#heardS = nowS;
    if (!this.#observer.observe(readings, sending, nowS)) return;
    // Until now the mirror was wrong about output: what was found missing had that cause.
    this.streams.recount(nowS);
    this.reserves.forgetOutput();
    // Room for the whole of max_tokens was not known to be needed: its lack was taken for refused growth.
    if (this.ledger.accounting === "reserve") this.ramp.lift();
  }

  #settleInput(sending: Sending, counted: number | null): void {
    if (counted === null || counted === sending.input) return;
    const surplus = sending.input - counted;
    this.ledger.takeInput(-surplus);
    sending.expected.levels[IN] = (sending.expected.levels[IN] ?? 0) + surplus;
    sending.expected.levels[ALL] = (sending.expected.levels[ALL] ?? 0) + surplus;
    sending.input = counted;
  }

  /** A call's cost in seconds of limit, by the limiter it strains most. */
  #seconds({ input, output }: Demand): number {
    const { ledger } = this;
    const of = (tokens: number, dimension: typeof IN | typeof OUT) =>
      ledger.rate(dimension) > 0 ? tokens / ledger.rate(dimension) : 0;
    return Math.max(of(input, IN), of(output, OUT));
  }
}

function held(by: HeldBy["by"], waitS: number): Held {
  return { heldBy: { by, limiter: null, class: null }, waitS };
}
