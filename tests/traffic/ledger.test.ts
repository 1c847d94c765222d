import { describe, expect, test } from "vitest";
import { IN, OUT, REQ } from "../../lib/traffic/dimensions.ts";
import { Ledger } from "../../lib/traffic/ledger.ts";
import { Random } from "../support/random.ts";

function ledgerOf(limit: number, level: number): Ledger {
  const ledger = new Ledger(0);
  ledger.setLimit(OUT, limit, level);
  return ledger;
}

describe("a ledger", () => {
  test.each([
    // limit, level, after s, expected
    [6_000, 0, 1, 100],
    [6_000, 0, 30, 3_000],
    [6_000, 5_950, 1, 6_000],
    [6_000, -500, 10, 500],
    [6_000, 100, 0, 100],
    [6_000, 100, -5, 100],
  ])("of %i a minute at %i holds after %i s what the rate says", (limit, level, afterS, expected) => {
    const ledger = ledgerOf(limit, level);
    ledger.refill(afterS);
    expect(ledger.level(OUT)).toBeCloseTo(expected, 9);
  });

  test("never rises above its capacity, and refills in two steps as in one", () => {
    const random = new Random(1);
    for (let run = 0; run < 300; run += 1) {
      const start = -20_000 + random.int(120_000);
      const once = ledgerOf(90_000, start);
      const twice = ledgerOf(90_000, start);
      const until = random.next() * 90;
      once.refill(until);
      twice.refill(until * random.next());
      twice.refill(until);
      expect(twice.level(OUT)).toBeCloseTo(once.level(OUT), 6);
      once.give(OUT, random.int(100_000));
      once.correct(OUT, random.int(100_000));
      expect(once.level(OUT)).toBeLessThanOrEqual(once.capacity(OUT));
    }
  });

  test("keeps what is in when a limit changes, as far as there is room", () => {
    const ledger = ledgerOf(90_000, 60_000);
    ledger.setLimit(OUT, 45_000);
    expect(ledger.level(OUT)).toBe(45_000);
    expect(ledger.rate(OUT)).toBe(750);
    ledger.setLimit(OUT, 90_000);
    expect(ledger.level(OUT)).toBe(45_000);
  });

  test("lets limits that nobody has told never stand in the way", () => {
    const ledger = new Ledger(0);
    expect(ledger.known).toBe(false);
    ledger.take(REQ, 1_000_000);
    ledger.takeInput(1_000_000);
    expect(ledger.level(IN)).toBe(Number.POSITIVE_INFINITY);
  });
});
