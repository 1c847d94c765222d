import { describe, expect, test } from "vitest";
import { AccountingDetector } from "../../lib/traffic/accounting-detector.ts";
import { IN, OUT, REQ } from "../../lib/traffic/dimensions.ts";
import { expectNow, HeaderObserver } from "../../lib/traffic/header-observer.ts";
import { type Accounting, Ledger } from "../../lib/traffic/ledger.ts";
import { simulate } from "../bench/admission-run.ts";
import { scenario } from "../bench/admission-scenarios.ts";

const LIMIT = 90_000;

function observed(level: number, then: number, reading: { remaining: number; resetInS: number; limit?: number }) {
  const ledger = new Ledger(0);
  ledger.setLimit(OUT, LIMIT, then);
  const unseen: number[] = [];
  const observer = new HeaderObserver(
    ledger,
    { learnsDrift: false, onTakenUnseen: (_, amount) => unseen.push(amount) },
    0,
  );
  const sent = { expected: expectNow(ledger), snapshot: { sentS: 0, made: 0, open: 0, held: 0 } };
  ledger.take(OUT, then - level);
  observer.observe({ output_tokens: { limit: LIMIT, ...reading } }, sent, 1);
  return { ledger, unseen };
}

describe("the header observer", () => {
  test.each([
    // mirror now, mirror when sent, remaining told, level after: inside nothing, below at once, above by half
    ["agrees", 50_000, 50_000, 50_000, 50_000],
    ["differs by rounding", 50_000, 50_000, 50_400, 50_000],
    ["speaks of the sending", 40_000, 50_000, 50_000, 40_000],
    ["speaks of the answer", 40_000, 50_000, 40_000, 40_000],
    ["lies between", 40_000, 50_000, 45_000, 40_000],
    ["is lower", 50_000, 50_000, 30_000, 30_500],
    ["is higher", 50_000, 50_000, 60_500, 55_000],
  ])("corrects a mirror that %s", (_, now, then, remaining, after) => {
    const { ledger, unseen } = observed(now, then, { remaining, resetInS: (LIMIT - remaining) / 1_500 });
    expect(ledger.level(OUT)).toBeCloseTo(after, 6);
    expect(ledger.corrected(OUT)).toBeCloseTo(after - now, 6);
    expect(unseen).toEqual(after < now ? [now - after] : []);
  });

  test("reads debt, of which remaining says nothing, from the time until the reset", () => {
    // Full in 70 s at 1,500 a second: 105,000 are missing of 90,000. Reset is rounded, so the edge is half a second off.
    const { ledger } = observed(20_000, 20_000, { remaining: 0, resetInS: 70 });
    expect(ledger.level(OUT)).toBeCloseTo(90_000 - 1_500 * 69.5 + 750, 6);
  });

  test.each([
    ["no limit", { limit: 0, remaining: 0, resetInS: 0 }],
    ["more left than the limit", { limit: LIMIT, remaining: 2 * LIMIT, resetInS: 0 }],
    ["no Date to measure the reset by", { limit: LIMIT, remaining: 10, resetInS: Number.NaN }],
  ])("ignores headers with %s", (_, reading) => {
    const { ledger } = observed(50_000, 50_000, reading);
    expect(ledger.level(OUT)).toBe(50_000);
    expect(ledger.limit(OUT)).toBe(LIMIT);
  });

  test("takes a changed limit at once", () => {
    const { ledger } = observed(80_000, 80_000, { limit: 45_000, remaining: 45_000, resetInS: 0 });
    expect(ledger.limit(OUT)).toBe(45_000);
    expect(ledger.capacity(OUT)).toBe(45_000);
    expect(ledger.level(OUT)).toBe(45_000);
  });

  test("learns that a bucket holds less than a minute of limit", () => {
    const ledger = new Ledger(0);
    const observer = new HeaderObserver(ledger, { learnsDrift: false, onTakenUnseen: () => {} }, 0);
    const capacity = 15_000;
    for (let step = 0; step < 12; step += 1) {
      const level = 4_000 + 800 * step;
      const reading = {
        limit: LIMIT,
        remaining: Math.round(level / 1_000) * 1_000,
        resetInS: Math.ceil((capacity - level) / 1_500),
      };
      observer.observe({ output_tokens: reading }, null, step);
    }
    expect(ledger.capacity(OUT)).toBeGreaterThan(capacity - 1_000);
    expect(ledger.capacity(OUT)).toBeLessThan(capacity + 2_500);
  });

  test("heeds the combined limit only while it is tighter than its parts", () => {
    const ledger = new Ledger(0);
    const observer = new HeaderObserver(ledger, { learnsDrift: false, onTakenUnseen: () => {} }, 0);
    const of = (limit: number) => ({ limit, remaining: limit, resetInS: 0 });
    const rest = { requests: of(100), input_tokens: of(80_000), output_tokens: of(16_000) };
    observer.observe({ ...rest, tokens: of(96_000) }, null, 0);
    expect(ledger.knownDimensions).toEqual([REQ, IN, OUT]);
    observer.observe({ ...rest, tokens: of(50_000) }, null, 1);
    expect(ledger.limit(3)).toBe(50_000);
    observer.observe({ ...rest, tokens: of(96_000) }, null, 2);
    expect(ledger.knownDimensions).toEqual([REQ, IN, OUT]);
  });
});

describe("the way of charging output", () => {
  test.each<Accounting>(["continuous", "at-end", "reserve"])("is found to be %s under load", (accounting) => {
    const figures = simulate(scenario("any", { load: 1.5 }, { upstream: { accounting } }), "headroom", 7);
    expect(figures.client429).toBe(0);
    expect(figures.upstream429).toBeLessThan(0.001);
    expect(figures.goodput).toBeGreaterThan(0.98);
  });

  test.each([
    [900, null],
    [4_000, "at-end"],
  ])("is not found to be another by a miss of chance: %i tokens off, once", (miss, found) => {
    const ledger = new Ledger(0);
    ledger.setLimit(OUT, LIMIT, LIMIT);
    const detector = new AccountingDetector();
    let verdict: Accounting | null = null;
    for (let second = 0; second <= 20; second += 1) {
      const snapshot = { sentS: second, made: 1_500 * second, open: second < 5 ? 0 : miss, held: 8_192 * second };
      verdict ??= detector.sample(ledger, snapshot, second < 5 ? 40_000 : 40_000 + miss);
    }
    expect(verdict).toBe(found);
  });
});
