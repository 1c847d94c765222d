import { expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { LimitBook } from "../../lib/limits/limit-book.ts";
import { LiveUsage } from "../../lib/usage/live-usage.ts";

const place = { upstream: "default", pool: "opus-5.5", lane: "standard" } as const;

function setUp() {
  const clock = new ManualClock();
  const live = new LiveUsage({ clock });
  const book = new LimitBook({ clock, use: live });
  const input = (limit: number, remaining: number, sentAtMs = clock.now()) =>
    book.observe(place, [{ lane: "standard", limiter: "input_tokens", limit, remaining, resetAt: null }], sentAtMs);
  const state = () => book.states()[0]?.limiters.find(({ limiter }) => limiter === "input_tokens");
  const use = (tokens: number) =>
    live.open({ ...place, agent: "a" }).prompt({ inputTokens: tokens, cacheWriteTokens: 0, cacheReadTokens: 0 });
  return { clock, live, book, input, state, use };
}

test("the bucket refills by the clock after a header", () => {
  const { clock, input, state } = setUp();
  input(60_000, 20_000);
  expect(state()?.remaining).toBe(20_000);
  clock.advance(10_000);
  expect(state()?.remaining).toBe(30_000);
  clock.advance(600_000);
  expect(state()?.remaining).toBe(60_000);
});

test("what was sent after a header is taken from it", () => {
  const { clock, input, state, use } = setUp();
  input(60_000, 40_000);
  clock.advance(1_000);
  use(15_000);
  expect(state()?.remaining).toBe(26_000);
});

test("an answer that comes late speaks of when its call was sent", () => {
  const { clock, input, state } = setUp();
  const sentAtMs = clock.now();
  clock.advance(5_000);
  input(60_000, 50_000);
  input(60_000, 10_000, sentAtMs);
  expect(state()?.remaining).toBe(50_000);
});

test("use is the tighter of the bucket's level and the last minute", () => {
  const { clock, input, state, use } = setUp();
  input(60_000, 60_000);
  use(30_000);
  clock.advance(40_000);
  input(60_000, 60_000);
  expect(state()).toMatchObject({ usedLastMinute: 30_000, used: 30_000, utilisation: 0.5 });
  input(60_000, 6_000);
  expect(state()).toMatchObject({ usedLastMinute: 30_000, used: 54_000, utilisation: 0.9 });
});

test("traffic that does not pass through Headroom shows in the headers' use", () => {
  const { input, state } = setUp();
  input(2_000_000, 500_000);
  expect(state()).toMatchObject({ usedLastMinute: 0, used: 1_500_000, utilisation: 0.75, source: "header" });
});

test("the time to the limit is a band of two averages, and none while the bucket does not drain", () => {
  const { clock, input, state, use } = setUp();
  for (let second = 0; second < 60; second++) {
    use(second < 40 ? 1_500 : 3_000);
    clock.advance(1_000);
  }
  input(60_000, 30_000);
  const band = state()?.secondsToLimit;
  expect(band?.min).toBeCloseTo(30_000 / (3_000 - 1_000), 0);
  expect(band?.max).toBeCloseTo(30_000 / (2_000 - 1_000), 0);
  clock.advance(60_000);
  expect(state()?.secondsToLimit).toBeNull();
});

test("limits that nobody told are the published ones and say so", () => {
  const { live, book } = setUp();
  live.open({ ...place, agent: "a" });
  expect(book.states()[0]?.limiters).toMatchObject([
    { limiter: "requests", limit: 1_000, source: "published", remaining: null, observedAt: null },
    { limiter: "input_tokens", limit: 2_000_000, source: "published" },
    { limiter: "output_tokens", limit: 400_000, source: "published" },
  ]);
});

test("the combined limiter shows only where it is tighter than its parts", () => {
  const { clock, book } = setUp();
  const observe = (tokens: number) =>
    book.observe(
      place,
      [
        { lane: "standard", limiter: "input_tokens", limit: 100, remaining: 100, resetAt: null },
        { lane: "standard", limiter: "output_tokens", limit: 20, remaining: 20, resetAt: null },
        { lane: "standard", limiter: "tokens", limit: tokens, remaining: tokens, resetAt: null },
      ],
      clock.now(),
    );
  const shown = () => book.states()[0]?.limiters.map(({ limiter }) => limiter);
  observe(120);
  expect(shown()).not.toContain("tokens");
  observe(90);
  expect(shown()).toContain("tokens");
});

test("a pool is live, then stale while calls bring no headers, then idle", () => {
  const { clock, live, book, input } = setUp();
  const state = () => book.states()[0]?.state;
  live.open({ ...place, agent: "a" });
  input(60_000, 60_000);
  expect(state()).toBe("live");
  clock.advance(3 * 60_000);
  expect(state()).toBe("stale");
  clock.advance(8 * 60_000);
  expect(state()).toBe("idle");
});

test("what was heard is handed over for storing once, the last word of each limiter", () => {
  const { clock, book, input } = setUp();
  input(60_000, 20_000);
  clock.advance(10);
  input(60_000, 19_000);
  expect(book.takeUnsaved()).toMatchObject([{ limiter: "input_tokens", remaining: 19_000, source: "header" }]);
  expect(book.takeUnsaved()).toEqual([]);
});
