import { describe, expect, it } from "vitest";
import { KEPT_CALLS, KEPT_SECONDS, mergeOverview, mergeSeries } from "#components/live/merge-overview.ts";
import { Overview } from "#lib/overview/schema.ts";
import { OverviewSource } from "../support/overview-data.ts";

const KEY = "default/opus-5.5/standard";

describe("the live overview", () => {
  it("is what a fresh page would get, however many events it was put together from", () => {
    const source = new OverviewSource("busy");
    let merged = mergeOverview(null, source.first());
    for (let second = 0; second < 120; second++) merged = mergeOverview(merged, source.next());
    const fresh = source.first();
    expect(merged.series).toEqual(fresh.series);
    expect(merged.pools).toEqual(fresh.pools);
    expect(merged.calls.slice(0, 50)).toEqual(fresh.calls);
  });

  it("does not grow in a tab that stays open", () => {
    const source = new OverviewSource("busy");
    let merged = mergeOverview(null, source.first());
    for (let second = 0; second < 200; second++) merged = mergeOverview(merged, source.next());
    expect(merged.series[KEY]?.input).toHaveLength(KEPT_SECONDS);
    expect(merged.calls.length).toBeLessThanOrEqual(KEPT_CALLS);
    expect(new Set(merged.calls.map((call) => call.id)).size).toBe(merged.calls.length);
  });

  it("starts a series anew after a gap, for what lies between is unknown", () => {
    const series = (start: number, length: number) => {
      const values = Array.from({ length }, (_, index) => start + index);
      return { start, requests: values, input: values, cacheWrite: values, cacheRead: values, output: values };
    };
    expect(mergeSeries(series(0, 100), series(100, 90)).start).toBe(0);
    expect(mergeSeries(series(0, 100), series(101, 90)).start).toBe(101);
    expect(mergeSeries(series(50, 100), series(0, 960))).toEqual(series(0, 960));
  });

  it("drops the series of a pool that is gone", () => {
    const first = new OverviewSource("busy").first();
    const gone = { ...first, pools: first.pools.filter((pool) => pool.key !== KEY), series: {} };
    expect(Object.keys(mergeOverview(first, gone).series)).not.toContain(KEY);
  });

  it.each(["busy", "calm", "waiting", "stale", "failing"] as const)(
    "is tried with data of the real shape: %s",
    (look) => {
      const source = new OverviewSource(look);
      expect(() => Overview.parse(source.first())).not.toThrow();
      expect(() => Overview.parse(source.next())).not.toThrow();
    },
  );
});
