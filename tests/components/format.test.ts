import { describe, expect, it } from "vitest";
import {
  formatAge,
  formatBand,
  formatCount,
  formatDuration,
  formatLatency,
  formatPercent,
  formatShort,
  formatUsed,
} from "#components/ui/format.ts";

describe("numbers on screen", () => {
  it.each([
    [0, "0"],
    [412, "412"],
    [1_000, "1k"],
    [88_500, "88.5k"],
    [260_000, "260k"],
    [999_499, "999k"],
    [999_500, "1M"],
    [1_690_000, "1.69M"],
    [2_000_000, "2M"],
    [-1_500, "\u22121.5k"],
  ])("%d as a limit is %s", (value, text) => expect(formatShort(value)).toBe(text));

  it("writes what is used so that a small change shows", () => {
    expect([412, 61_000, 99_999, 100_000, 1_740_400].map(formatUsed)).toEqual([
      "412",
      "61,000",
      "99,999",
      "100k",
      "1,740k",
    ]);
  });

  it("never shortens an exact count", () => expect(formatCount(1_829_540)).toBe("1,829,540"));

  it("says zero per cent only of nothing, and puts a narrow space before the sign", () => {
    expect([0, 0.001, 0.004, 0.8712, 1.04].map(formatPercent)).toEqual(
      ["0", "1", "1", "87", "104"].map((text) => `${text}\u202f%`),
    );
  });
});

describe("times on screen", () => {
  it.each([
    [400, "0.4 s"],
    [52_000, "52 s"],
    [59_600, "1 min"],
    [73_000, "1 min 13 s"],
    [240_000, "4 min"],
    [6 * 3_600_000, "6 h"],
    [3 * 86_400_000, "3 d"],
  ])("%d ms lasted %s", (ms, text) => expect(formatDuration(ms)).toBe(text));

  it("writes latencies to three digits", () => {
    expect([84, 1_120, 14_100].map(formatLatency)).toEqual(["84 ms", "1.12 s", "14.1 s"]);
  });

  it("does not show an age below nothing when clocks differ", () => {
    expect(formatAge("2026-11-23T08:00:01.000Z", Date.parse("2026-11-23T08:00:00.000Z"))).toBe("just now");
    expect(formatAge("2026-11-23T08:00:00.000Z", Date.parse("2026-11-23T08:00:00.400Z"))).toBe("0.4 s ago");
  });

  it.each([
    [36, 51, "35–50 s"],
    [250, 410, "4–7 min"],
    [50, 130, "50 s–2 min"],
    [2, 4, "2–4 s"],
    [58, 62, "1 min"],
    [0, 0.4, "a second"],
  ])("a band of %d to %d s is %s", (min, max, text) => expect(formatBand(min, max)).toBe(text));
});
