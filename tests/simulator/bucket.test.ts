import { describe, expect, test } from "vitest";
import { Bucket } from "../../lib/simulator/bucket.ts";
import { Pace } from "../../lib/simulator/pace.ts";
import { PoolMeter } from "../../lib/simulator/pool-meter.ts";
import { seeded } from "../../lib/simulator/seeded.ts";

describe("a bucket", () => {
  test.each([
    // limit, taken, after ms, level
    [60, 60, 0, 0],
    [60, 60, 1_000, 1],
    [60, 60, 500, 0.5],
    [60, 60, 60_000, 60],
    [60, 60, 600_000, 60],
    [1_000, 1_000, 7, 7 / 60],
    [2_000_000, 2_000_000, 1, 2_000_000 / 60_000],
    [90, 120, 0, -30],
    [90, 120, 20_000, 0],
    [90, 120, 80_000, 90],
  ])("of %i a minute, less %i, holds %i ms later what the rate says", (limit, taken, ms, level) => {
    const bucket = new Bucket(limit, 5_000);
    bucket.take(taken);
    bucket.settle(5_000 + ms);
    expect(bucket.level).toBe(level);
  });

  test("is exact after a million small steps", () => {
    const stepped = new Bucket(7, 0);
    stepped.take(7_000);
    for (let ms = 1; ms <= 1_000_000; ms += 1) stepped.settle(ms);
    const jumped = new Bucket(7, 0);
    jumped.take(7_000);
    jumped.settle(1_000_000);
    expect(stepped.level).toBe(jumped.level);
    expect(jumped.level).toBe((7 * 1_000_000) / 60_000 + 7 - 7_000);
  });

  test("tells when an amount will fit, and the wait is neither too short nor too long", () => {
    const bucket = new Bucket(200_000, 0);
    bucket.take(210_000);
    const waitMs = bucket.msUntil(43_000);
    expect(waitMs).toBe(15_900);
    bucket.settle(waitMs - 1);
    expect(bucket.level).toBeLessThan(43_000);
    bucket.settle(waitMs);
    expect(bucket.level).toBe(43_000);
  });

  test("says until it is full when an amount can never fit", () => {
    const bucket = new Bucket(60, 0);
    bucket.take(30);
    expect(bucket.msUntil(1_000)).toBe(30_000);
  });

  test("does not go back in time", () => {
    const bucket = new Bucket(60, 10_000);
    bucket.take(60);
    bucket.settle(20_000);
    bucket.settle(15_000);
    bucket.settle(20_000);
    expect(bucket.level).toBe(10);
  });

  test("keeps what fits when its limit changes, and refills at the new rate", () => {
    const bucket = new Bucket(600, 0);
    bucket.setLimit(60);
    expect(bucket.level).toBe(60);
    bucket.take(60);
    bucket.setLimit(120);
    bucket.settle(1_000);
    expect(bucket.level).toBe(2);
  });

  test("over any run stays within its capacity and gives out no more than capacity and refill", () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const random = seeded(seed);
      const limit = 1 + Math.floor(random() * 5_000);
      const bucket = new Bucket(limit, 0);
      let now = 0;
      let admitted = 0;
      for (let step = 0; step < 400; step += 1) {
        now += Math.floor(random() * 3_000);
        bucket.settle(now);
        expect(bucket.level).toBeLessThanOrEqual(limit);
        const size = Math.ceil(random() * limit);
        if (bucket.level < size) continue;
        bucket.take(size);
        admitted += size;
        expect(admitted).toBeLessThanOrEqual(limit + (limit * now) / 60_000 + 1e-6);
        expect(bucket.level).toBeGreaterThanOrEqual(0);
      }
    }
  });
});

describe("a pool's output bucket", () => {
  const limits = { requests: 60, input_tokens: 6_000, output_tokens: 600 };

  test("is charged while an answer is made, token by token, and may go below zero", () => {
    const meter = new PoolMeter(limits, 0);
    const pace = new Pace(2_000, 100, 0);
    meter.begin(pace, 0);
    const levelAt = (ms: number) => {
      meter.settle(ms);
      return meter.buckets.output_tokens.level;
    };
    // 100 tokens/s go out, 10 tokens/s come in.
    expect(levelAt(1_000)).toBe(510);
    expect(levelAt(10_000)).toBe(-300);
    expect(levelAt(20_000)).toBe(-1_200);
    meter.end(pace, 20_000);
    expect(levelAt(80_000)).toBe(-600);
    expect(levelAt(200_000)).toBe(600);
  });

  test("stays full while answers are made more slowly than it refills", () => {
    const meter = new PoolMeter(limits, 0);
    const pace = new Pace(50, 5, 0);
    meter.begin(pace, 0);
    meter.settle(3_000);
    meter.settle(10_000);
    expect(meter.buckets.output_tokens.level).toBe(600);
  });

  test("is charged exactly what was produced when the answer is broken off", () => {
    const meter = new PoolMeter(limits, 0);
    const pace = new Pace(100_000, 1_000, 0);
    meter.begin(pace, 0);
    pace.stop(100);
    meter.end(pace, 100);
    meter.settle(100);
    expect(pace.producedAt(1e9)).toBe(100);
    expect(meter.buckets.output_tokens.level).toBe(600 + 1 - 100);
  });
});
