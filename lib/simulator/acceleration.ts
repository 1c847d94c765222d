/**
 * A limit on growth. Nothing about its shape is published but that it exists; this is the model of the admission
 * benchmark: a fast and a slow sum of what was asked for, both decaying, and a refusal when the fast one runs away.
 */
export type AccelerationOptions = {
  /** Time constant of the sum that stands for now. */
  fastSeconds: number;
  /** Time constant of the sum that stands for what was usual. */
  slowSeconds: number;
  /** A rate below this share of the pool's whole rate is never refused. */
  floorShare: number;
  /** How many times the usual rate is let through. */
  growth: number;
  /** What an output token weighs beside an input token. */
  outputWeight: number;
};

export const DEFAULT_ACCELERATION: Readonly<AccelerationOptions> = {
  fastSeconds: 20,
  slowSeconds: 120,
  floorShare: 0.4,
  growth: 2.5,
  outputWeight: 5,
};

/** The two sums of one pool. Pure in time: whoever asks says what time it is, and asking changes nothing. */
export class AccelerationLimiter {
  #options: AccelerationOptions;
  #fast = 0;
  #slow = 0;
  #atMs: number;

  constructor(options: AccelerationOptions, nowMs: number) {
    this.#options = options;
    this.#atMs = nowMs;
  }

  /** Whether a call of that size is more than the pool's use may grow by. Limits are per minute. */
  refuses(
    call: { inputTokens: number; outputTokens: number },
    limits: { input_tokens: number; output_tokens: number },
    nowMs: number,
  ): boolean {
    const { fastSeconds, slowSeconds, floorShare, growth } = this.#options;
    const fast = this.#fast * this.#decay(fastSeconds, nowMs);
    const slow = this.#slow * this.#decay(slowSeconds, nowMs);
    const rate = (fast + this.#weigh(call.inputTokens, call.outputTokens)) / fastSeconds;
    const floor = floorShare * (this.#weigh(limits.input_tokens, limits.output_tokens) / 60);
    return rate > Math.max(floor, (growth * slow) / slowSeconds);
  }

  /** Books an admitted call. */
  add(call: { inputTokens: number; outputTokens: number }, nowMs: number): void {
    const weight = this.#weigh(call.inputTokens, call.outputTokens);
    this.#fast = this.#fast * this.#decay(this.#options.fastSeconds, nowMs) + weight;
    this.#slow = this.#slow * this.#decay(this.#options.slowSeconds, nowMs) + weight;
    this.#atMs = Math.max(this.#atMs, nowMs);
  }

  #weigh(inputTokens: number, outputTokens: number): number {
    return inputTokens + this.#options.outputWeight * outputTokens;
  }

  #decay(seconds: number, nowMs: number): number {
    return Math.exp(-Math.max(0, nowMs - this.#atMs) / (seconds * 1_000));
  }
}
