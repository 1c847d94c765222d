import { expect, test } from "vitest";
import { SlidingWindow, type WindowEntry } from "../../lib/access/sliding-window.ts";
import { Random } from "../support/random.ts";

test.each([1, 2, 3])("the sum is that of a list of all entries, through bursts and quiet (seed %i)", (seed) => {
  const random = new Random(seed);
  const window = new SlidingWindow();
  const all: { entry: WindowEntry; atMs: number; amount: number }[] = [];
  let nowMs = 1_795_400_000_000;
  for (let step = 0; step < 6_000; step += 1) {
    // Bursts of hundreds within the minute, and pauses in which all of them leave.
    if (random.next() < 0.3) nowMs += random.int(step % 2_000 < 1_500 ? 500 : 10_000);
    const last = all.at(-1 - random.int(5));
    if (last && random.next() < 0.3) {
      last.amount = random.int(1_000);
      window.correct(last.entry, last.amount);
    } else {
      const amount = random.int(1_000);
      all.push({ entry: window.add(amount, nowMs), atMs: nowMs, amount });
    }
    if (random.next() < 0.5) continue;
    const held = all.slice(-2_000).filter(({ atMs }) => atMs > nowMs - 60_000);
    const sum = held.reduce((total, { amount }) => total + amount, 0);
    expect(window.sum(nowMs)).toBe(sum);
    expect(window.msUntilFreed(sum + 1, nowMs)).toBeNull();
    // Once what is in front of the last entry and that itself have left, all is free.
    if (sum > 0) {
      const lastThatCounts = held.findLast(({ amount }) => amount > 0);
      expect(window.msUntilFreed(sum, nowMs)).toBe((lastThatCounts?.atMs ?? 0) + 60_000 - nowMs);
    }
  }
});
