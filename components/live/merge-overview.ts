import type { Overview, SecondSeries } from "#lib/overview/schema.ts";

/** What the page keeps: 15 minutes of chart, and the minute before them that the first sliding sums need. */
export const KEPT_SECONDS = 960;
export const KEPT_CALLS = 100;

const COLUMNS = ["requests", "input", "cacheWrite", "cacheRead", "output"] as const;

/**
 * The state after an event. Everything is the event's own, save that its series replace only the seconds they cover and
 * its calls come on top of those known. Never holds more than `KEPT_SECONDS` and `KEPT_CALLS`, however long a tab is open.
 */
export function mergeOverview(before: Overview | null, event: Overview): Overview {
  if (!before) return event;
  const series: Overview["series"] = {};
  for (const [key, incoming] of Object.entries(event.series)) series[key] = mergeSeries(before.series[key], incoming);
  for (const [key, known] of Object.entries(before.series)) series[key] ??= known;
  const pools = new Set(event.pools.map((pool) => pool.key));
  for (const key of Object.keys(series)) if (!pools.has(key)) delete series[key];
  return { ...event, series, calls: mergeCalls(before.calls, event.calls) };
}

export function mergeSeries(before: SecondSeries | undefined, incoming: SecondSeries): SecondSeries {
  const end = incoming.start + incoming.input.length;
  const beforeEnd = before ? before.start + before.input.length : 0;
  // A gap, or an event that covers all that is kept: nothing of the old is of use.
  if (!before || before.start >= incoming.start || beforeEnd < incoming.start) return lastSeconds(incoming, end);
  const keep = incoming.start - before.start;
  const joined = { start: before.start } as SecondSeries;
  for (const column of COLUMNS) joined[column] = before[column].slice(0, keep).concat(incoming[column]);
  return lastSeconds(joined, end);
}

function lastSeconds(series: SecondSeries, end: number): SecondSeries {
  const surplus = end - series.start - KEPT_SECONDS;
  if (surplus <= 0) return series;
  const cut = { start: series.start + surplus } as SecondSeries;
  for (const column of COLUMNS) cut[column] = series[column].slice(surplus);
  return cut;
}

function mergeCalls(before: Overview["calls"], incoming: Overview["calls"]): Overview["calls"] {
  if (incoming.length === 0) return before;
  const seen = new Set(incoming.map((call) => call.id));
  return incoming.concat(before.filter((call) => !seen.has(call.id))).slice(0, KEPT_CALLS);
}
