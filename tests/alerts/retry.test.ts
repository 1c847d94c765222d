import { expect, test } from "vitest";
import { parseRetryAfter, retryDelay } from "../../lib/alerts/retry.ts";
import { seeded } from "./factories.ts";

test.each([
  [1, 5],
  [2, 300],
  [3, 1_800],
  [4, 7_200],
  [5, 18_000],
  [6, 18_000],
])("after attempt %i it waits %i seconds, a tenth more or less", (attempts, seconds) => {
  const random = seeded(attempts);
  for (let i = 0; i < 100; i++) {
    const delay = retryDelay({ attempts, ageSeconds: 0, retryAfterSeconds: null, random: random() }) ?? 0;
    expect(Math.abs(delay - seconds)).toBeLessThanOrEqual(seconds / 10 + 1e-9);
  }
});

test("Retry-After is obeyed: never sooner, and not beyond a day", () => {
  expect(retryDelay({ attempts: 1, ageSeconds: 0, retryAfterSeconds: 90, random: 0.5 })).toBe(90);
  expect(retryDelay({ attempts: 2, ageSeconds: 0, retryAfterSeconds: 90, random: 0.5 })).toBe(300);
  expect(retryDelay({ attempts: 1, ageSeconds: 0, retryAfterSeconds: 90_000, random: 0.5 })).toBeNull();
});

test("it stops when a day has passed", () => {
  expect(retryDelay({ attempts: 9, ageSeconds: 70_000, retryAfterSeconds: null, random: 0.5 })).toBeNull();
});

test("Retry-After is read as seconds or as a date", () => {
  const now = Date.UTC(2026, 10, 23, 8, 0, 0);
  expect(parseRetryAfter("120", now)).toBe(120);
  expect(parseRetryAfter("Mon, 23 Nov 2026 08:02:00 GMT", now)).toBe(120);
  expect(parseRetryAfter("Mon, 23 Nov 2026 07:00:00 GMT", now)).toBe(0);
  expect(parseRetryAfter("soon", now)).toBeNull();
  expect(parseRetryAfter(null, now)).toBeNull();
});
