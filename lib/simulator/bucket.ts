/**
 * Levels are kept in 1/60,000 of a token: a limit of L per minute then refills exactly L of them a millisecond. With
 * whole milliseconds and whole tokens all sums are whole numbers, so a level is exact at any time and never drifts.
 */
const UNITS_PER_TOKEN = 60_000;

/**
 * One continuously refilled token bucket: capacity = the limit per minute, full at the start. There is no timer; whoever
 * asks says what time it is. A level may be negative, for output is charged after it was made.
 */
export class Bucket {
  #limit: number;
  #units: number;
  #atMs: number;
  #taken = 0;

  constructor(limitPerMinute: number, nowMs: number) {
    this.#limit = limitPerMinute;
    this.#units = limitPerMinute * UNITS_PER_TOKEN;
    this.#atMs = nowMs;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Tokens in it at the time of the last `settle`; may be negative and may be a fraction. */
  get level(): number {
    return this.#units / UNITS_PER_TOKEN;
  }

  /** Tokens taken since the start, less what was given back. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * Brings the level to `nowMs`. `drained` tokens flowed out evenly since the last time, so they meet the refill before
   * the brim does: a full bucket that drains slower than it fills stays full. Time never goes back.
   */
  settle(nowMs: number, drained = 0): void {
    const elapsedMs = Math.max(0, nowMs - this.#atMs);
    this.#atMs = Math.max(this.#atMs, nowMs);
    this.#taken += drained;
    const units = this.#units + this.#limit * elapsedMs - drained * UNITS_PER_TOKEN;
    this.#units = Math.min(this.#limit * UNITS_PER_TOKEN, units);
  }

  /** Takes tokens out at once; a negative amount gives some back, never over the brim. */
  take(amount: number): void {
    this.#taken += amount;
    this.#units = Math.min(this.#limit * UNITS_PER_TOKEN, this.#units - amount * UNITS_PER_TOKEN);
  }

  /** A new limit from the last `settle` on. What was in stays in, as far as there is room. */
  setLimit(limitPerMinute: number): void {
    this.#limit = limitPerMinute;
    this.#units = Math.min(this.#units, limitPerMinute * UNITS_PER_TOKEN);
  }

  /** Milliseconds until it holds `amount`, or until it is full when it can never hold so much. */
  msUntil(amount: number): number {
    const wanted = Math.min(amount, this.#limit) * UNITS_PER_TOKEN;
    return wanted <= this.#units ? 0 : (wanted - this.#units) / this.#limit;
  }

  get msUntilFull(): number {
    return this.msUntil(this.#limit);
  }
}
