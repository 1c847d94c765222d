import { describe, expect, test } from "vitest";
import { BurstCurve } from "../../lib/traffic/burst-curve.ts";
import { CLASS_INDEXES, type ClassIndex } from "../../lib/traffic/classes.ts";
import { IN, OUT, REQ } from "../../lib/traffic/dimensions.ts";
import { Ledger } from "../../lib/traffic/ledger.ts";
import { Reserves } from "../../lib/traffic/reserves.ts";
import { Random } from "../support/random.ts";

function known(): Ledger {
  const ledger = new Ledger(0);
  ledger.setLimit(REQ, 1_000, 1_000);
  ledger.setLimit(IN, 450_000, 450_000);
  ledger.setLimit(OUT, 90_000, 90_000);
  return ledger;
}

describe("reserves", () => {
  test("are the base before anything is learnt", () => {
    const reserves = new Reserves(known(), 0);
    expect(CLASS_INDEXES.map((of) => reserves.share(of, REQ, 0))).toEqual([0.02, 0.06, 0.08, 0.1]);
    expect(CLASS_INDEXES.map((of) => reserves.share(of, IN, 0))).toEqual([0.04, 0.06, 0.08, 0.1]);
    expect(CLASS_INDEXES.map((of) => reserves.share(of, OUT, 0))).toEqual([0.02, 0.102, 0.144, 0.18]);
  });

  test("rise with what the classes above have asked for at once, and are remembered for minutes", () => {
    const reserves = new Reserves(known(), 0);
    for (let call = 0; call < 20; call += 1) reserves.arrive(0, 0, 1_500, 0);
    expect(reserves.share(1, OUT, 0)).toBeCloseTo(30_000 / 90_000 + 0.02, 6);
    expect(reserves.share(0, OUT, 0)).toBe(0.02);
    reserves.arrive(3, 0, 0, 300);
    expect(reserves.share(1, OUT, 0)).toBeCloseTo((30_000 / 90_000) * Math.exp(-0.5) + 0.02, 6);
  });

  test("rise with what others take unseen, as if critical had asked for it", () => {
    const reserves = new Reserves(known(), 0);
    reserves.takenUnseen(OUT, 20_000, 0);
    reserves.takenUnseen(IN, 90_000, 0);
    expect(reserves.share(1, OUT, 0)).toBeCloseTo(20_000 / 90_000 + 0.02, 6);
    expect(reserves.share(3, IN, 0)).toBeCloseTo(0.22, 6);
    expect(reserves.burst.within(0, 1_500)).toBe(20_000);
  });

  test("grow from class to class, and never past half the bucket", () => {
    const random = new Random(3);
    const ledger = known();
    const reserves = new Reserves(ledger, 0);
    for (let nowS = 0; nowS < 2_000; nowS += random.next() * 4) {
      reserves.arrive(random.int(4) as ClassIndex, random.int(30_000), random.int(6_000), nowS);
      for (const dimension of [REQ, IN, OUT] as const) {
        const shares = CLASS_INDEXES.map((of) => reserves.share(of, dimension, random.next() < 0.5 ? 0 : 1));
        for (const share of shares) expect(share).toBeLessThanOrEqual(0.5);
      }
      for (const dimension of [IN, OUT] as const) {
        const standing = random.next();
        const shares = CLASS_INDEXES.map((of) => reserves.share(of, dimension, standing));
        expect(shares).toEqual([...shares].sort((a, b) => a - b));
        for (const of of CLASS_INDEXES) {
          expect(reserves.depth(of, dimension)).toBeGreaterThanOrEqual(0);
          expect(reserves.depth(of, dimension)).toBeLessThanOrEqual(ledger.capacity(dimension));
        }
      }
    }
  });

  test("of a bucket that holds seconds only are small", () => {
    const ledger = known();
    ledger.setCapacity(OUT, 1_500 * 5);
    const reserves = new Reserves(ledger, 0);
    for (let call = 0; call < 50; call += 1) reserves.arrive(0, 0, 2_000, 0);
    expect(reserves.share(3, OUT, 0)).toBeCloseTo(0.2, 6);
  });
});

describe("the burst curve", () => {
  test("holds no window with more critical output than it says", () => {
    const random = new Random(8);
    const curve = new BurstCurve(0);
    const calls: { atS: number; tokens: number }[] = [];
    for (let nowS = 0; nowS < 120; nowS += random.next() * 3) {
      const tokens = 50 + random.int(600);
      calls.push({ atS: nowS, tokens });
      curve.arrive(tokens, 1_500, 1e9, nowS);
    }
    for (const [index, first] of calls.entries()) {
      let sum = 0;
      for (const last of calls.slice(index)) {
        sum += last.tokens;
        // Memory fades over ten minutes; within two it keeps four fifths.
        expect(sum * 0.8).toBeLessThanOrEqual(curve.within(last.atS - first.atS, 1_500));
      }
    }
  });

  test("rises and bends down", () => {
    const curve = new BurstCurve(0);
    for (let call = 0; call < 40; call += 1) curve.arrive(400, 1_500, 90_000, call * 0.5);
    const points = Array.from({ length: 40 }, (_, index) => curve.within(index * 2, 1_500));
    const steps = points.slice(1).map((point, index) => point - (points[index] ?? 0));
    for (const [index, step] of steps.entries()) {
      expect(step).toBeGreaterThanOrEqual(0);
      expect(step).toBeLessThanOrEqual((steps[index - 1] ?? Number.POSITIVE_INFINITY) + 1e-6);
    }
  });
});
