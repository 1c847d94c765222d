import { expect, test } from "vitest";
import { parseUnifiedWindows, type UnifiedLimits } from "../../lib/anthropic/unified-windows.ts";
import { UnifiedBook } from "../../lib/limits/unified-book.ts";

const START = Date.parse("2026-11-23T08:00:00Z");

function limits(fiveHour: number, sevenDay: number): UnifiedLimits {
  const prefix = "anthropic-ratelimit-unified";
  const parsed = parseUnifiedWindows({
    [`${prefix}-representative-claim`]: "seven_day",
    [`${prefix}-5h-utilization`]: String(fiveHour),
    [`${prefix}-5h-reset`]: String(START / 1000 + 60),
    [`${prefix}-7d-utilization`]: String(sevenDay),
    [`${prefix}-7d-reset`]: String(START / 1000 + 86_400),
  });
  if (!parsed) throw new Error("no windows");
  return parsed;
}

test("each subscription has its own windows; newer news wins, and a window that has ended is gone", () => {
  let now = START;
  const book = new UnifiedBook({ clock: { now: () => now, monotonic: () => now } });
  const [anna, ben] = ["anna", "ben"].map((account) => ({ upstream: "default", account }));
  if (!anna || !ben) throw new Error("two are needed");
  book.observe(anna, limits(0.4, 0.7), START - 1_000);
  book.observe(anna, limits(0.1, 0.1), START - 9_000);
  book.observe(ben, limits(0.9, 0.2), START);
  expect(book.states().map(({ account, window, utilisation, binds }) => [account, window, utilisation, binds])).toEqual(
    [
      ["ben", "five_hour", 0.9, false],
      ["anna", "seven_day", 0.7, true],
      ["anna", "five_hour", 0.4, false],
      ["ben", "seven_day", 0.2, true],
    ],
  );
  now = START + 60_000;
  expect(book.states().map(({ window }) => window)).toEqual(["seven_day", "seven_day"]);
});
