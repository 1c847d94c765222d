/**
 * From use per second to the lines of a chart. Limits are per minute, so a chart shows at each second what the 60 seconds
 * before it used; a wide range is thinned to buckets that keep their peak, for a mean would hide what meets the ceiling.
 */
export const WINDOW_SECONDS = 60;
export const MAX_POINTS = 300;

/** One entry a second, the first at `start` (epoch seconds). */
export type PerSecond = { start: number; values: readonly number[] };

/** One instant of a chart. `parts` are stacked in their order; null where nothing was measured. */
export type ChartPoint =
  | { at: number; parts: readonly number[]; total: number }
  | { at: number; parts: null; total: null };

/** Sums of the 60 entries that end with each one. Before 60 entries exist, the sum of those that do. */
export function slidingMinute(values: readonly number[]): number[] {
  const sums: number[] = [];
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    sum += (values[i] ?? 0) - (i >= WINDOW_SECONDS ? (values[i - WINDOW_SECONDS] ?? 0) : 0);
    sums.push(sum > 1e-6 ? sum : 0);
  }
  return sums;
}

/**
 * At most `maxPoints` points after `fromSeconds`, up to and with `toSeconds`. Buckets lie on fixed multiples of their width, so a
 * point keeps its place and value while time moves on; each holds the second in which the total was highest.
 */
export function chartPoints(
  series: readonly PerSecond[],
  fromSeconds: number,
  toSeconds: number,
  maxPoints = MAX_POINTS,
): ChartPoint[] {
  const first = series[0];
  if (!first || toSeconds <= fromSeconds) return [];
  const sums = series.map((entry) => slidingMinute(entry.values));
  const end = first.start + first.values.length;
  const width = Math.max(1, Math.ceil((toSeconds - fromSeconds) / maxPoints));
  const points: ChartPoint[] = [];
  for (let bucket = (Math.floor(fromSeconds / width) + 1) * width; bucket <= toSeconds; bucket += width) {
    let peak: ChartPoint | null = null;
    for (let second = bucket; second < bucket + width && second <= toSeconds; second++) {
      if (second < first.start || second >= end) continue;
      const parts = sums.map((values) => values[second - first.start] ?? 0);
      const total = parts.reduce((sum, part) => sum + part, 0);
      if (!peak || (peak.total ?? 0) <= total) peak = { at: second * 1_000, parts, total };
    }
    points.push(peak ?? { at: bucket * 1_000, parts: null, total: null });
  }
  return points;
}

/** Round steps for an axis from zero to the limit; the limit itself is always the last, and nothing crowds it. */
export function axisTicks(limit: number, count = 4): number[] {
  if (!(limit > 0)) return [0];
  const raw = limit / count;
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((value) => value >= raw * 0.999) ?? limit;
  const ticks: number[] = [];
  for (let value = 0; value < limit - step * 0.3; value += step) ticks.push(value);
  return [...ticks, limit];
}

/** Instants on whole multiples of `stepSeconds`, in milliseconds, leaving the end free for its own label. */
export function timeTicks(fromMs: number, toMs: number, stepSeconds: number, freeMs: number): number[] {
  const step = stepSeconds * 1_000;
  const ticks: number[] = [];
  for (let at = Math.ceil(fromMs / step) * step; at <= toMs - freeMs; at += step) ticks.push(at);
  return ticks;
}
