/** Beyond this nobody need know the second. */
const HORIZON_SECONDS = 600;

/**
 * When a bucket will be empty, as the band of two averages: bucket physics, not a straight line. It drains by what is
 * used less what refills (limit / 60 a second). Null when either average says that it does not drain, or takes longer
 * than ten minutes.
 */
export function forecastEmpty(bucket: {
  limit: number;
  remaining: number;
  /** Counted use a second, averaged over about 15 s and about 60 s. */
  usePerSecond: readonly [number, number];
}): { min: number; max: number } | null {
  const refill = bucket.limit / 60;
  const times = bucket.usePerSecond.map((use) =>
    use > refill ? Math.max(0, bucket.remaining) / (use - refill) : Infinity,
  );
  const min = Math.min(...times);
  const max = Math.max(...times);
  return max > HORIZON_SECONDS ? null : { min, max };
}

/** Seconds until the bucket is full when nothing more is taken out. */
export function secondsToFull(limit: number, remaining: number): number {
  return limit > 0 ? Math.max(0, ((limit - remaining) * 60) / limit) : 0;
}
