import { describe, expect, test } from "vitest";
import { Bench, LIMITS, readings, UNKNOWN } from "./controller-bench.ts";

const PUBLISHED = { requests: 1_000, input_tokens: 2_000_000, output_tokens: 400_000 };

/** A controller that expects the published limits of an upstream it has not met yet. */
function expecting(limits: Partial<typeof PUBLISHED> = PUBLISHED): Bench {
  const bench = new Bench({}, ["a"], null);
  bench.controller.expectLimits(() => limits);
  return bench;
}

const arrivals = (bench: Bench, count: number, nowS: number) =>
  Array.from({ length: count }, () => bench.arrive(nowS, { bytes: 400, class: "critical", deadlineS: 500 }));
const levels = (bench: Bench, nowS: number) => bench.controller.snapshot(nowS).ledgers.at(-1)?.levels ?? [];
const tells = (limit: number, remaining: number) => ({
  ...readings(),
  requests: { limit, remaining, resetInS: ((limit - remaining) * 60) / limit },
});

describe("limits that are only expected", () => {
  test("let three calls go, and then as many as the first answer says there is room for", () => {
    const bench = expecting();
    const ids = arrivals(bench, 400, 0);
    bench.run(0, 1);
    expect(bench.admitted).toEqual(ids.slice(0, 3));
    for (const [index, id] of ids.slice(0, 3).entries())
      bench.controller.head(id, { limits: tells(50, 49 - index), ...UNKNOWN }, 1);
    bench.run(1, 1.2);
    // Fifty, less what critical calls leave.
    expect(bench.admitted.length).toBeGreaterThan(40);
    expect(bench.admitted.length).toBeLessThanOrEqual(50);
  });

  test("give way to an empty bucket that the first answer tells of, as after a restart under load", () => {
    const bench = expecting();
    const ids = arrivals(bench, 50, 0);
    bench.refuse(ids[0] ?? 0, 0.1, { limits: tells(1_000, 0) });
    bench.run(0.1, 0.5);
    expect(bench.admitted).toHaveLength(3);
  });

  test("let one more go after each silence, so that long answers hold nobody until their deadline", () => {
    const bench = expecting();
    arrivals(bench, 50, 0);
    bench.run(0, 10.1);
    expect(bench.admitted.length).toBeGreaterThan(6);
    expect(bench.admitted.length).toBeLessThanOrEqual(8);
  });

  test("are in force, with a bucket a quarter full, where an answer comes and tells none", () => {
    const bench = expecting();
    arrivals(bench, 400, 0);
    bench.controller.head(bench.admitted[0] ?? 0, { limits: {}, ...UNKNOWN }, 1);
    bench.run(1, 1.1);
    expect(levels(bench, 1).map(({ limit }) => limit)).toEqual(Object.values(PUBLISHED));
    expect(bench.admitted.length).toBeGreaterThan(200);
    expect(bench.admitted.length).toBeLessThanOrEqual(260);
  });

  test("are in force for what an answer leaves out", () => {
    const bench = expecting();
    const { requests } = readings();
    const [id = 0] = arrivals(bench, 1, 0);
    bench.controller.head(id, { limits: { ...(requests ? { requests } : {}) }, ...UNKNOWN }, 1);
    expect(levels(bench, 1).map(({ limit }) => limit)).toEqual([LIMITS.requests, 2_000_000, 400_000]);
  });

  test("measure what is fair while none is told", () => {
    const bench = expecting({ ...PUBLISHED, requests: 10 });
    arrivals(bench, 1, 0);
    expect(bench.controller.snapshot(0).queues[0]?.classes.critical.service).toBeGreaterThan(0.1);
  });

  test("are asked for again of an upstream that was forgotten in the meantime", () => {
    const bench = expecting();
    bench.answer(arrivals(bench, 1, 0)[0] ?? 0, 1);
    bench.controller.setGroup("default", ["b"], 1);
    bench.pump(10_000);
    bench.controller.setGroup("default", ["a"], 20_000);
    bench.pump(20_000);
    arrivals(bench, 50, 30_000);
    bench.answer(bench.admitted.at(-1) ?? 0, 30_000);
    expect(levels(bench, 30_000).map(({ limit }) => limit)).toEqual(Object.values(PUBLISHED));
  });
});
