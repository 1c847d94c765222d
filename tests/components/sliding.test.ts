import { describe, expect, it } from "vitest";
import { axisTicks, chartPoints, MAX_POINTS, slidingMinute, timeTicks } from "#components/charts/sliding.ts";

describe("the sliding minute", () => {
  it("sums the 60 seconds that end with each one", () => {
    const sums = slidingMinute(Array.from({ length: 200 }, () => 2));
    expect(sums[0]).toBe(2);
    expect(sums[59]).toBe(120);
    expect(sums[60]).toBe(120);
    expect(sums[199]).toBe(120);
  });

  it("agrees with adding up anew, for any use", () => {
    const random = seeded(7);
    const values = Array.from({ length: 500 }, () => (random() < 0.3 ? 0 : random() * 10_000));
    const sums = slidingMinute(values);
    for (let end = 0; end < values.length; end++) {
      const expected = values.slice(Math.max(0, end - 59), end + 1).reduce((sum, value) => sum + value, 0);
      expect(sums[end]).toBeCloseTo(expected, 4);
    }
  });

  it("comes back to exactly zero after use with fractions", () => {
    const values = [...Array.from({ length: 100 }, () => 0.1), ...Array.from({ length: 60 }, () => 0)];
    expect(slidingMinute(values).at(-1)).toBe(0);
  });
});

describe("the points of a chart", () => {
  const start = 1_000;

  it("keep the peak of a wide range", () => {
    const random = seeded(3);
    for (let round = 0; round < 30; round++) {
      const values = Array.from({ length: 960 }, () => random() * 100);
      values[100 + Math.floor(random() * 800)] = 50_000;
      const points = chartPoints([{ start, values }], start + 60, start + 959);
      const peak = Math.max(...slidingMinute(values).slice(64));
      expect(points.length).toBeLessThanOrEqual(MAX_POINTS);
      expect(Math.max(...points.map((point) => point.total ?? 0))).toBeCloseTo(peak, 6);
    }
  });

  it("keep place and value while time moves on", () => {
    const values = Array.from({ length: 960 }, (_, index) => (index * 37) % 101);
    const now = chartPoints([{ start, values }], start + 40, start + 940);
    const later = chartPoints([{ start, values }], start + 47, start + 947);
    const known = new Map(now.map((point) => [point.at, point.total]));
    const shared = later.slice(2, -5).filter((point) => known.has(point.at));
    expect(shared.length).toBeGreaterThan(250);
    for (const point of shared) expect(point.total).toBe(known.get(point.at));
  });

  it("stack parts whose sum is the total", () => {
    const input = { start, values: Array.from({ length: 300 }, (_, index) => index % 7) };
    const writes = { start, values: Array.from({ length: 300 }, (_, index) => index % 5) };
    for (const point of chartPoints([input, writes], start, start + 299)) {
      expect((point.parts?.[0] ?? 0) + (point.parts?.[1] ?? 0)).toBe(point.total);
    }
  });

  it("are null, not zero, where nothing was measured", () => {
    const points = chartPoints(
      [{ start: start + 100, values: Array.from({ length: 100 }, () => 1) }],
      start,
      start + 199,
    );
    expect(points.filter((point) => point.at < (start + 100) * 1_000).every((point) => point.total === null)).toBe(
      true,
    );
    expect(points.filter((point) => point.at >= (start + 100) * 1_000).every((point) => point.total !== null)).toBe(
      true,
    );
  });
});

describe("axes", () => {
  it.each([
    [2_000_000, [0, 500_000, 1_000_000, 1_500_000, 2_000_000]],
    [1_000, [0, 250, 500, 750, 1_000]],
    [400_000, [0, 100_000, 200_000, 300_000, 400_000]],
    [0, [0]],
  ])("end at the limit %d", (limit, ticks) => expect(axisTicks(limit)).toEqual(ticks));

  it("let nothing crowd the limit's own tick", () => {
    for (const limit of [450, 1_234, 90_000, 1_050_000, 7_777_777]) {
      const ticks = axisTicks(limit);
      expect(ticks.at(-1)).toBe(limit);
      expect(ticks.length).toBeLessThanOrEqual(6);
      expect(limit - (ticks.at(-2) ?? 0)).toBeGreaterThan(limit * 0.05);
    }
  });

  it("put times on whole minutes and leave the end free", () => {
    const from = Date.UTC(2026, 10, 23, 8, 26, 7);
    const ticks = timeTicks(from, from + 900_000, 180, 60_000);
    expect(ticks.map((at) => new Date(at).toISOString().slice(11, 19))).toEqual([
      "08:27:00",
      "08:30:00",
      "08:33:00",
      "08:36:00",
      "08:39:00",
    ]);
  });
});

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 4_294_967_296;
  };
}
