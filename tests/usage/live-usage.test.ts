import { expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { LiveUsage } from "../../lib/usage/live-usage.ts";
import { callRecord } from "../support/call-record.ts";

const place = { agent: "a", upstream: "default", pool: "opus-5.5", lane: "standard" } as const;
const key = "default/opus-5.5/standard";

function setUp() {
  const clock = new ManualClock();
  const live = new LiveUsage({ clock });
  const now = () => Math.floor(clock.now() / 1000);
  return {
    clock,
    live,
    now,
    minute: (limiter: "requests" | "input_tokens" | "output_tokens") => live.used(key, limiter, now() - 60, now()),
  };
}

test("cache reads do not count as input, cache writes do", () => {
  const { live, minute } = setUp();
  live.open(place).prompt({ inputTokens: 100, cacheWriteTokens: 50, cacheReadTokens: 9_000 });
  expect(minute("input_tokens")).toBe(150);
});

test("cache reads count where the pool counts them", () => {
  const { live, now } = setUp();
  live.open({ ...place, pool: "haiku-3.5" }).prompt({ inputTokens: 100, cacheWriteTokens: 0, cacheReadTokens: 900 });
  expect(live.used("default/haiku-3.5/standard", "input_tokens", now() - 60, now())).toBe(1_000);
});

test("a call counts once, however often its prompt is told", () => {
  const { live, minute } = setUp();
  const open = live.open(place);
  open.prompt({ inputTokens: 100, cacheWriteTokens: 0, cacheReadTokens: 0 });
  open.prompt({ inputTokens: 130, cacheWriteTokens: 0, cacheReadTokens: 0 });
  const call = callRecord({ inputTokens: 130, outputTokens: 7 });
  open.close(call);
  open.close(call);
  expect([minute("requests"), minute("input_tokens"), minute("output_tokens")]).toEqual([1, 130, 7]);
});

test("output of an open stream moves while it flows, and is exact when it ends", () => {
  const { clock, live, minute } = setUp();
  const open = live.open(place);
  open.progress(4_000);
  clock.advance(1_000);
  open.progress(4_000);
  expect(minute("output_tokens")).toBeGreaterThan(0);
  open.close(callRecord({ streamed: true, outputTokens: 333 }));
  expect(minute("output_tokens")).toBe(333);
});

test("output counts in the seconds in which it was produced", () => {
  const { clock, live, now } = setUp();
  const start = now();
  const open = live.open(place);
  open.progress(1_000);
  clock.advance(2_000);
  open.progress(3_000);
  clock.advance(30_000);
  open.close(callRecord({ streamed: true, outputTokens: 400 }));
  expect(live.series(key, start, start + 3).output).toEqual([100, 0, 300, 0]);
});

test("what is older than a minute leaves the sliding minute", () => {
  const { clock, live, minute } = setUp();
  live.open(place).prompt({ inputTokens: 100, cacheWriteTokens: 0, cacheReadTokens: 0 });
  clock.advance(59_000);
  expect(minute("input_tokens")).toBe(100);
  clock.advance(1_000);
  expect(minute("input_tokens")).toBe(0);
});

test("a second that comes round again in the ring starts from zero", () => {
  const { clock, live, now } = setUp();
  for (let turn = 0; turn < 40; turn++) {
    live.open(place);
    clock.advance(64_000);
  }
  const sum = live.series(key, now() - 959, now()).requests.reduce((total, count) => total + count, 0);
  expect(sum).toBe(14);
});

test("use before a restart is added to its own second", () => {
  const { live, now } = setUp();
  const second = now() - 5;
  live.warm([
    {
      ...place,
      second,
      requests: 3,
      inputTokens: 30,
      cacheWriteTokens: 3,
      cacheReadTokens: 300,
      outputTokens: 12,
      refusedCalls: 1,
    },
  ]);
  const series = live.series(key, second, second);
  expect(series).toMatchObject({ requests: [3], input: [30], cacheWrite: [3], cacheRead: [300], output: [12] });
});

test("random streams in any order sum up to what was recorded", () => {
  const { clock, live, now } = setUp();
  let seed = 7;
  const random = (max: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % max;
  };
  const start = now();
  let output = 0;
  let input = 0;
  const open = new Set<ReturnType<LiveUsage["open"]>>();
  for (let step = 0; step < 3_000; step++) {
    const choice = random(4);
    if (choice === 0) open.add(live.open({ ...place, agent: `agent-${random(5)}` }));
    const [first] = open;
    if (choice === 1) first?.progress(random(5_000));
    if (choice === 2) first?.prompt({ inputTokens: random(900), cacheWriteTokens: random(90), cacheReadTokens: 5 });
    if (choice === 3 && first) {
      const call = callRecord({ inputTokens: random(900), cacheWriteTokens: random(90), outputTokens: random(400) });
      first.close(call);
      open.delete(first);
      input += call.inputTokens + call.cacheWriteTokens;
      output += call.outputTokens;
    }
    clock.advance(random(300));
  }
  for (const rest of open) rest.close(callRecord({ inputTokens: 0, outputTokens: 0 }));
  expect(live.used(key, "input_tokens", start - 1, now())).toBe(input);
  expect(live.used(key, "output_tokens", start - 1, now())).toBeCloseTo(output, 5);
});
