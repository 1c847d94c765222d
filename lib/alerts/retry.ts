/** Delays before the second, third, … attempt; the last one repeats. The first is at once. */
const DELAYS_SECONDS = [5, 300, 1_800, 7_200, 18_000] as const;
const GIVE_UP_SECONDS = 24 * 3600;

export type RetryInput = {
  /** Attempts made so far, from 1. */
  attempts: number;
  /** Since the first. */
  ageSeconds: number;
  /** What the receiver asked for, or null. */
  retryAfterSeconds: number | null;
  /** From 0 up to 1. */
  random: number;
};

/** Seconds until the next attempt, or null when a day has passed. Up to a tenth more or less, never before Retry-After. */
export function retryDelay({ attempts, ageSeconds, retryAfterSeconds, random }: RetryInput): number | null {
  const base = DELAYS_SECONDS[Math.min(attempts, DELAYS_SECONDS.length) - 1] ?? DELAYS_SECONDS[0];
  const delay = Math.max(base * (0.9 + 0.2 * random), retryAfterSeconds ?? 0);
  return ageSeconds + delay > GIVE_UP_SECONDS ? null : delay;
}

/** A `Retry-After` header in seconds: it is a number of them or an HTTP date. Null when absent or nonsense. */
export function parseRetryAfter(header: string | null, nowMs: number): number | null {
  if (header === null) return null;
  if (/^\s*\d+\s*$/.test(header)) return Number(header);
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, (at - nowMs) / 1000);
}
