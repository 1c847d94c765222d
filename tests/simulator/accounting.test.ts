import { describe, expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { AccelerationLimiter, DEFAULT_ACCELERATION } from "../../lib/simulator/acceleration.ts";
import { OrganizationLimits } from "../../lib/simulator/organization-limits.ts";
import { Pace } from "../../lib/simulator/pace.ts";
import { ACCOUNTING_MODES, type Accounting, PoolMeter } from "../../lib/simulator/pool-meter.ts";
import { seeded } from "../../lib/simulator/seeded.ts";
import { HELLO, simulate } from "./simulator-client.ts";

const START = Date.UTC(2026, 10, 22, 10, 0, 0);
const limits = { requests: 60, input_tokens: 6_000, output_tokens: 600 };
const organization = (accounting: Accounting) =>
  new OrganizationLimits("start", { "opus-5.5": limits }, { accounting });
const call = (inputTokens: number, maxTokens: number) => ({
  pool: "opus-5.5",
  lane: "standard" as const,
  inputTokens,
  maxTokens,
});

describe("output accounting", () => {
  /** One answer of 300 tokens at 10 a second with max_tokens 400; the bucket refills 10 a second. */
  test.each<[Accounting, number, number, number]>([
    // admitted, after 10 s, at its end after 30 s (with what has refilled, up to the brim)
    ["continuous", 600, 600, 600],
    ["at-end", 600, 600, 300],
    ["reserve", 200, 300, 600],
  ])("%s charges an answer when it should", (accounting, admitted, running, ended) => {
    const limitsOf = organization(accounting);
    const admission = limitsOf.admit(call(10, 400), START);
    if (!admission.admitted) throw new Error("refused");
    const level = (ms: number) => limitsOf.levels(START + ms)["opus-5.5"]?.output_tokens.level;
    expect(level(0)).toBe(admitted);
    const pace = new Pace(300, 10, START);
    admission.charge.begin(pace, START);
    expect(level(10_000)).toBe(running);
    admission.charge.end(pace, START + 30_000);
    expect(level(30_000)).toBe(ended);
  });

  test("reserve refuses a call whose max_tokens do not fit, and says when they will", () => {
    const limitsOf = organization("reserve");
    expect(limitsOf.admit(call(10, 400), START).admitted).toBe(true);
    const refused = limitsOf.admit(call(10, 400), START);
    // 200 short at 10 a second.
    expect(refused).toMatchObject({ admitted: false, limiter: "output_tokens", retryAfterSeconds: 20 });
    expect(limitsOf.admit(call(10, 200), START).admitted).toBe(true);
    expect(limitsOf.levels(START)["opus-5.5"]?.output_tokens.level).toBe(0);
  });

  test("reserve holds no more than nearly the whole bucket, and gives it back when the answer never begins", () => {
    const limitsOf = organization("reserve");
    const admission = limitsOf.admit(call(10, 100_000), START);
    if (!admission.admitted) throw new Error("refused");
    expect(limitsOf.levels(START)["opus-5.5"]?.output_tokens.level).toBe(600 - 599);
    admission.charge.abandon(START);
    expect(limitsOf.levels(START)["opus-5.5"]?.output_tokens.level).toBe(600);
  });

  test("of every kind comes to the same sum over any run that never reaches the brim", () => {
    for (let seed = 1; seed <= 30; seed += 1) {
      const sums = ACCOUNTING_MODES.map((accounting) => {
        const random = seeded(seed);
        const meter = new PoolMeter(limits, 0, { accounting, acceleration: null });
        meter.buckets.output_tokens.take(1_000_000);
        let now = 0;
        let produced = 0;
        for (let step = 0; step < 50; step += 1) {
          now += Math.floor(random() * 2_000);
          const pace = new Pace(Math.floor(random() * 900), 1 + Math.floor(random() * 90), now);
          const held = meter.outputHold(1_000);
          meter.buckets.output_tokens.take(held);
          meter.begin(pace, now);
          now += Math.floor(random() * 20_000);
          pace.stop(now);
          produced += pace.producedAt(now);
          meter.end(pace, now, held);
        }
        meter.settle(now);
        expect(meter.buckets.output_tokens.level).toBe(600 - 1_000_000 + now / 100 - produced);
        return meter.buckets.output_tokens.level;
      });
      expect(new Set(sums).size).toBe(1);
    }
  });

  test("is an option of the simulator, and its headers show it", async () => {
    const { simulator, post } = await simulate({
      clock: new ManualClock(),
      accounting: "reserve",
      firstTokenMs: 1_000,
      limits: { "opus-5.5": { output_tokens: 16_000 } },
    });
    const asked = post({ ...HELLO, max_tokens: 4_096 });
    while (simulator.levels()["opus-5.5"] === undefined) await post(HELLO, {}, "/v1/messages/count_tokens");
    expect(simulator.levels()["opus-5.5"]?.output_tokens.level).toBe(16_000 - 4_096);
    await simulator.close();
    await expect(asked).rejects.toThrow();
    expect(simulator.levels()["opus-5.5"]?.output_tokens.level).toBe(16_000);
  });
});

describe("the limit on growth", () => {
  const pool = { input_tokens: 450_000, output_tokens: 90_000 };
  /** 450,000 / 60 + 5 x 90,000 / 60. */
  const FULL_RATE = 15_000;
  const of = (weight: number) => ({ inputTokens: weight, outputTokens: 0 });

  test("lets a pool start at 40 % of its rate, and no more", () => {
    const limiter = new AccelerationLimiter(DEFAULT_ACCELERATION, 0);
    const floor = 0.4 * FULL_RATE * 20;
    expect(limiter.refuses(of(floor), pool, 0)).toBe(false);
    expect(limiter.refuses(of(floor + 1), pool, 0)).toBe(true);
    limiter.add(of(floor / 2), 0);
    expect(limiter.refuses(of(floor / 2), pool, 0)).toBe(false);
    expect(limiter.refuses(of(floor / 2 + 1), pool, 0)).toBe(true);
    expect(limiter.refuses({ inputTokens: 0, outputTokens: floor / 10 + 1 }, pool, 0)).toBe(true);
  });

  test("forgets with time as its two sums say", () => {
    const limiter = new AccelerationLimiter({ ...DEFAULT_ACCELERATION, floorShare: 0 }, 0);
    limiter.add(of(120_000), 0);
    const at = 30_000;
    const fast = 120_000 * Math.exp(-30 / 20);
    const allowed = ((2.5 * 120_000 * Math.exp(-30 / 120)) / 120) * 20 - fast;
    expect(limiter.refuses(of(Math.floor(allowed)), pool, at)).toBe(false);
    expect(limiter.refuses(of(Math.ceil(allowed)), pool, at)).toBe(true);
  });

  test("never refuses what grows slowly, and refuses what jumps tenfold", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const random = seeded(seed);
      const limiter = new AccelerationLimiter(DEFAULT_ACCELERATION, 0);
      let now = 0;
      let rate = 1_000;
      for (let step = 0; step < 2_000; step += 1) {
        const gapMs = Math.floor(random() * 1_000);
        now += gapMs;
        rate = Math.min(FULL_RATE, rate * 1.002);
        const size = of((rate * gapMs) / 1_000);
        expect(limiter.refuses(size, pool, now)).toBe(false);
        limiter.add(size, now);
      }
      expect(limiter.refuses(of(FULL_RATE * 20 * 10), pool, now)).toBe(true);
    }
  });

  test("refuses by 429 with its code though the buckets hold enough, and takes nothing", async () => {
    const { simulator, post } = await simulate({ clock: new ManualClock(), acceleration: {} });
    // The floor of Opus 5.5 at Start: 0.4 x (2,000,000 + 5 x 400,000) / 60 x 20.
    const ask = (inputTokens: number) =>
      post(HELLO, { "x-simulator-input-tokens": String(inputTokens), "x-simulator-output-tokens": "100" });
    expect((await ask(500_000)).status).toBe(200);
    const refused = await ask(100_000);
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toMatch(/^([5-9]|10)$/);
    expect(Number(refused.headers.get("anthropic-ratelimit-input-tokens-remaining"))).toBe(1_500_000);
    expect(await refused.json()).toMatchObject({ error: { details: { error_code: "ramp_limit_exceeded" } } });
    expect(simulator.levels()["opus-5.5"]?.requests.level).toBe(999);
    expect(simulator.ledger.entries[1]).toMatchObject({ status: 429, errorCode: "ramp_limit_exceeded", billed: false });
  });
});
