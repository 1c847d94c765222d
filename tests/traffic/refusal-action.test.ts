import { expect, test } from "vitest";
import { chooseAction, type UpstreamRefusal } from "../../lib/traffic/refusal-action.ts";

const ROOMY = {
  requests: { limit: 1_000, remaining: 900, resetInS: 6 },
  input_tokens: { limit: 450_000, remaining: 400_000, resetInS: 7 },
  output_tokens: { limit: 90_000, remaining: 80_000, resetInS: 7 },
};
const CALL = { inputTokens: 10_000, reservedOutput: 1, failures: 0, attempts: 1 };

function refusal(change: Partial<UpstreamRefusal>): UpstreamRefusal {
  return { status: 429, cause: null, retryAfterS: 8, limits: ROOMY, ...change };
}

const empty = (limiter: keyof typeof ROOMY, remaining = 0) => ({
  ...ROOMY,
  [limiter]: { ...ROOMY[limiter], remaining },
});

test.each<[string, Partial<UpstreamRefusal>, object]>([
  ["no requests left", { limits: empty("requests") }, { kind: "bucket", waitS: 8, leastInput: 0 }],
  ["no output left", { limits: empty("output_tokens") }, { kind: "bucket", waitS: 8, leastInput: 0 }],
  [
    "input for less than this prompt with a missed cache",
    { limits: empty("input_tokens", 12_000) },
    { kind: "bucket", waitS: 8, leastInput: 15_500 },
  ],
  [
    "input for less than this prompt if it was guessed too short",
    { limits: empty("input_tokens", 15_000), retryAfterS: 1 },
    { kind: "bucket", waitS: 1, leastInput: 15_000 },
  ],
  ["room everywhere: growth was refused", {}, { kind: "acceleration", waitS: 8, pauseS: 8 }],
  [
    "growth by name",
    { cause: "acceleration", limits: empty("requests") },
    { kind: "acceleration", waitS: 8, pauseS: 8 },
  ],
  ["a long pause for growth", { retryAfterS: 30 }, { kind: "acceleration", waitS: 30, pauseS: 10 }],
  ["no headers, so no sign of growth", { limits: {} }, { kind: "bucket", waitS: 8, leastInput: 0 }],
  ["a spend cap by name", { cause: "spend_cap" }, { kind: "stop", cause: "spend_cap" }],
  ["a spend cap by the absence of retry-after", { retryAfterS: null }, { kind: "stop", cause: "spend_cap" }],
  ["no credit", { status: 402, cause: "billing" }, { kind: "stop", cause: "billing" }],
  ["a key that is not valid", { status: 401, cause: "authentication" }, { kind: "stop", cause: "authentication" }],
  ["a limit per day: hours to wait", { retryAfterS: 7_200, limits: empty("input_tokens") }, { kind: "pass" }],
  ["overload", { status: 529, cause: "overloaded", retryAfterS: null }, { kind: "overload", waitS: 0.5 }],
  ["an error inside", { status: 500, cause: "upstream_fault", retryAfterS: null }, { kind: "fault", waitS: 0.5 }],
  ["no answer at all", { status: null, cause: "upstream_fault", retryAfterS: null }, { kind: "fault", waitS: 0.5 }],
  [
    "a time-out: the work may have been done",
    { status: 504, cause: "timeout", retryAfterS: null },
    { kind: "timeout" },
  ],
  ["a bad request", { status: 400, cause: "invalid", retryAfterS: null }, { kind: "pass" }],
  ["a model that is not allowed", { status: 403, cause: "permission", retryAfterS: null }, { kind: "pass" }],
])("%s", (_, change, action) => {
  expect(chooseAction(refusal(change), CALL, 0)).toEqual(action);
});

test("a remainder rounded up to a thousand is no room for the small call that it refused", () => {
  const small = { ...CALL, inputTokens: 400 };
  const rounded = refusal({ limits: empty("input_tokens", 1_000) });
  expect(chooseAction(rounded, small, 0)).toEqual({ kind: "bucket", waitS: 8, leastInput: 1_100 });
});

test("a large prompt refused for growth again waits alone, twice as long each time", () => {
  const again = (attempts: number, inputTokens: number) =>
    chooseAction(refusal({ cause: "acceleration" }), { ...CALL, inputTokens, attempts }, 0);
  expect(again(1, 90_000)).toEqual({ kind: "acceleration", waitS: 8, pauseS: 8 });
  expect([2, 3, 4, 9].map((attempts) => again(attempts, 90_000))).toEqual(
    [16, 32, 60, 60].map((waitS) => ({ kind: "bucket", waitS, leastInput: 0 })),
  );
  expect(again(9, 2_000)).toEqual({ kind: "acceleration", waitS: 8, pauseS: 8 });
});

test("waits are spread, so that those refused together do not come back together", () => {
  const waits = [0, 0.5, 0.99].map((unit) => chooseAction(refusal({ limits: empty("requests") }), CALL, unit));
  expect(waits).toEqual(
    [8, 8.4, 8.792].map((waitS) => ({ kind: "bucket", waitS: expect.closeTo(waitS, 6), leastInput: 0 })),
  );
});

test("each further fault of the upstream doubles the wait, up to eight seconds", () => {
  const wait = (failures: number) =>
    chooseAction(refusal({ status: 529, retryAfterS: null }), { ...CALL, failures }, 0);
  expect([0, 1, 2, 3, 4, 5].map(wait)).toEqual([0.5, 1, 2, 4, 8, 8].map((waitS) => ({ kind: "overload", waitS })));
});
