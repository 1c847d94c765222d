import { AccountingDetector, type SendSnapshot } from "./accounting-detector.ts";
import { CapacityLearner } from "./capacity.ts";
import {
  ALL,
  DIMENSIONS,
  type Dimension,
  type LimitReading,
  type LimitReadings,
  limiterOf,
  OUT,
  REQ,
} from "./dimensions.ts";
import type { Ledger } from "./ledger.ts";

/** The mirror right after a call's own deduction, by dimension, with the corrections made until then. */
export type Expectation = { levels: Float64Array; corrected: Float64Array };

export type ObserverOptions = {
  /** Whether steady use by others is foreseen: needed where others share the limit unseen all the time. */
  learnsDrift: boolean;
  /** Told of requests or tokens that turn out to be gone though nobody was seen to take them. */
  onTakenUnseen: (dimension: Dimension, amount: number) => void;
};

const DRIFT_STEP_S = 5;
const DRIFT_GAIN = 0.15;

export function expectNow(ledger: Ledger): Expectation {
  const levels = new Float64Array(DIMENSIONS.length);
  const corrected = new Float64Array(DIMENSIONS.length);
  for (const dimension of DIMENSIONS) {
    levels[dimension] = ledger.level(dimension);
    corrected[dimension] = ledger.corrected(dimension);
  }
  return { levels, corrected };
}

/**
 * Corrects a ledger by what answers' headers say. They are a snapshot of the call's admission, or perhaps of the answer's
 * first byte: a reading between the mirror then and the mirror now is right. Else the mirror moves, down at once and
 * upwards by half, for too low costs little and too high costs a refusal.
 */
export class HeaderObserver {
  readonly #ledger: Ledger;
  readonly #capacity = DIMENSIONS.map(() => new CapacityLearner());
  readonly #detector = new AccountingDetector();
  readonly #corrections = new Float64Array(DIMENSIONS.length);
  readonly #options: ObserverOptions;
  #driftedS: number;
  /** Whether the upstream has told any limit. */
  hasHeard = false;

  constructor(ledger: Ledger, options: ObserverOptions, nowS: number) {
    this.#ledger = ledger;
    this.#options = options;
    this.#driftedS = nowS;
  }

  /**
   * `sent` is null for a refusal, whose snapshot is of now. True when the way of charging was found to be another: the
   * open streams are then to be recounted.
   */
  observe(
    readings: LimitReadings,
    sent: { expected: Expectation; snapshot: SendSnapshot } | null,
    nowS: number,
  ): boolean {
    const ledger = this.#ledger;
    this.#forgetLooseTotal(readings);
    for (const dimension of DIMENSIONS) {
      const reading = readings[limiterOf(dimension)];
      if (!reading || !isCredible(reading) || (dimension === ALL && !isTighter(readings))) continue;
      this.hasHeard = true;
      const isNew = this.#takeLimit(dimension, reading);
      this.#learnCapacity(dimension, reading);
      if (!isNew) this.#correct(dimension, reading, sent?.expected ?? null);
    }
    if (this.#options.learnsDrift) this.#stepDrift(nowS);
    const output = readings.output_tokens;
    if (!sent || !output || !isCredible(output)) return false;
    const found = this.#detector.sample(ledger, sent.snapshot, output.remaining);
    if (found === null) return false;
    ledger.accounting = found;
    ledger.correct(OUT, output.remaining - ledger.level(OUT));
    ledger.setDrift(OUT, 0);
    this.#corrections[OUT] = 0;
    return true;
  }

  /** True when this is the first that is heard of the limit. */
  #takeLimit(dimension: Dimension, { limit, remaining }: LimitReading): boolean {
    const ledger = this.#ledger;
    const isNew = !ledger.isKnown(dimension);
    if (isNew) ledger.setLimit(dimension, limit, remaining);
    else if (Math.abs(limit - ledger.limit(dimension)) > 0.5) {
      ledger.setLimit(dimension, limit);
      this.#capacity[dimension]?.clear();
      this.#corrections[dimension] = 0;
    }
    return isNew;
  }

  #learnCapacity(dimension: Dimension, reading: LimitReading): void {
    if (reading.remaining <= 0) return;
    const capacity = this.#capacity[dimension]?.learn(reading) ?? null;
    if (capacity !== null) this.#ledger.setCapacity(dimension, capacity);
  }

  #correct(dimension: Dimension, { remaining, resetInS }: LimitReading, expected: Expectation | null): void {
    const ledger = this.#ledger;
    const rate = ledger.rate(dimension);
    let seen = remaining;
    let tolerance = dimension === REQ ? 1 : 500;
    if (remaining === 0) {
      // Nothing below zero is told as a remainder, but the time until it is full again tells the debt.
      seen = Math.min(dimension === REQ ? 0 : 500, ledger.capacity(dimension) - rate * (resetInS - 0.5));
      tolerance = Math.max(tolerance, rate / 2);
    }
    const now = ledger.level(dimension);
    const then = expected
      ? (expected.levels[dimension] ?? now) + ledger.corrected(dimension) - (expected.corrected[dimension] ?? 0)
      : now;
    const low = Math.min(then, now) - tolerance;
    const high = Math.max(then, now) + tolerance;
    if (seen >= low && seen <= high) return;
    const step = seen < low ? seen - low : (seen - high) / 2;
    ledger.correct(dimension, step);
    if (step < 0) this.#options.onTakenUnseen(dimension, -step);
    this.#corrections[dimension] = (this.#corrections[dimension] ?? 0) + step;
  }

  #stepDrift(nowS: number): void {
    const elapsedS = nowS - this.#driftedS;
    if (elapsedS < DRIFT_STEP_S) return;
    this.#driftedS = nowS;
    for (const dimension of DIMENSIONS) {
      const seen = (this.#corrections[dimension] ?? 0) / elapsedS;
      this.#ledger.setDrift(dimension, this.#ledger.drift(dimension) - DRIFT_GAIN * seen);
      this.#corrections[dimension] = 0;
    }
  }

  #forgetLooseTotal(readings: LimitReadings): void {
    if (readings.tokens && this.#ledger.isKnown(ALL) && !isTighter(readings)) this.#ledger.forget(ALL);
  }
}

/** The combined limit repeats input plus output, unless a workspace has one of its own. */
function isTighter({ tokens, input_tokens, output_tokens }: LimitReadings): boolean {
  if (!tokens) return false;
  if (!input_tokens || !output_tokens) return input_tokens === undefined && output_tokens === undefined;
  return tokens.limit < 0.99 * (input_tokens.limit + output_tokens.limit);
}

function isCredible({ limit, remaining, resetInS }: LimitReading): boolean {
  return limit > 0 && remaining >= 0 && remaining <= 1.05 * limit && Number.isFinite(resetInS);
}
