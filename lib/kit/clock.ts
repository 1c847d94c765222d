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

/** As it was when this was loaded: frameworks put one of their own in its place, which costs on every call. */
const SystemDate = Date;

export const systemClock: Clock = {
  now: () => SystemDate.now(),
  monotonic: () => performance.now(),
};

let second = Number.NaN;
let secondText = "";

/** Milliseconds since the Unix epoch as ISO 8601, UTC. The calls of a second share all but its fraction. */
export function isoTime(ms: number): string {
  const of = Math.floor(ms / 1000);
  if (of !== second) {
    secondText = new SystemDate(of * 1000).toISOString().slice(0, -4);
    second = of;
  }
  return `${secondText}${String(Math.floor(ms) - of * 1000).padStart(3, "0")}Z`;
}

const MAX_TIMES = 100;
const times = new Map<string, number>();

/**
 * A time as text in milliseconds since the Unix epoch, NaN for what is none. Reading one takes a microsecond, and the
 * answers of a second share theirs: the last few are remembered.
 */
export function parseTime(text: string): number {
  const known = times.get(text);
  if (known !== undefined) return known;
  const ms = SystemDate.parse(text);
  if (times.size >= MAX_TIMES) times.clear();
  times.set(text, ms);
  return ms;
}

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
