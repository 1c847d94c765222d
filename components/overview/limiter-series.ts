import type { PerSecond } from "#components/charts/sliding.ts";
import { getPool, type Limiter } from "#lib/anthropic/pools.ts";
import type { PoolState } from "#lib/limits/schema.ts";
import type { SecondSeries } from "#lib/overview/schema.ts";

/** What stands under a limiter's ceiling, as named parts to be stacked. */
export type LimiterSeries = { parts: string[]; series: PerSecond[] };

/** Cache reads are among the parts only in pools where Anthropic counts them. */
export function limiterSeries(pool: PoolState, limiter: Limiter, series: SecondSeries | undefined): LimiterSeries {
  if (!series) return { parts: [], series: [] };
  const per = (values: readonly number[]): PerSecond => ({ start: series.start, values });
  const input = [
    { part: "uncached input", series: per(series.input) },
    { part: "cache writes", series: per(series.cacheWrite) },
    ...(getPool(pool.pool).cacheReadsCount ? [{ part: "cache reads", series: per(series.cacheRead) }] : []),
  ];
  const output = { part: "output", series: per(series.output) };
  const columns = {
    requests: [{ part: "requests", series: per(series.requests) }],
    input_tokens: input,
    output_tokens: [output],
    tokens: [...input, output],
  }[limiter];
  return { parts: columns.map((entry) => entry.part), series: columns.map((entry) => entry.series) };
}

/** Cache reads on their own, where they are free and there are any; else null. */
export function freeSeries(pool: PoolState, limiter: Limiter, series: SecondSeries | undefined): PerSecond | null {
  if (!series || limiter !== "input_tokens" || getPool(pool.pool).cacheReadsCount) return null;
  return { start: series.start, values: series.cacheRead };
}
