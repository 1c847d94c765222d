/**
 * Latencies in buckets of equal ratio: any quantile is at most 2 % off, and histograms add up over time and models.
 * `supabase/migrations` has the same two formulas in SQL, and a test compares them.
 */
export const HISTOGRAM_RATIO = 1.04;

/** The bucket of a duration; 0 holds everything up to a millisecond. */
export function latencyBucket(ms: number): number {
  if (ms <= 1) return 0;
  // The 1e-9 keeps logarithms of two mathematics libraries from disagreeing at a bucket's edge.
  return Math.max(0, Math.ceil(Math.log(ms) / Math.log(HISTOGRAM_RATIO) - 1e-9));
}

/** The duration that stands for a bucket, in milliseconds: its relative error is the same at both edges. */
export function latencyValue(bucket: number): number {
  return (2 * HISTOGRAM_RATIO ** bucket) / (HISTOGRAM_RATIO + 1);
}
