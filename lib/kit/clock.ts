/**
 * Time as everything in Headroom is told it. Wall time stamps records; monotonic time measures durations, so that a
 * clock set back never yields a negative latency.
 */
export type Clock = {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds from an arbitrary start, never going back; with fractions. */
  monotonic(): number;
};

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

/** A clock that moves only when told to: for tests and for simulations in virtual time. */
export class ManualClock implements Clock {
  #now: number;
  #start: number;

  constructor(startMs = Date.UTC(2026, 10, 23, 8, 0, 0)) {
    this.#now = startMs;
    this.#start = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}
