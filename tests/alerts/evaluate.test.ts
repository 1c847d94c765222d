import { expect, test } from "vitest";
import { evaluate } from "../../lib/alerts/evaluate.ts";
import type { RuleScope } from "../../lib/alerts/schema.ts";
import { poolAt, ruleOf } from "./factories.ts";

const NOW = Date.UTC(2026, 10, 23, 8, 0, 0);

test.each([
  [0.8, "above"],
  [1.4, "above"],
  [0.7999, "between"],
  [0.7, "between"],
  [0.6999, "below"],
  [0, "below"],
] as const)("use of %d reads as %s", (utilisation, reading) => {
  expect(evaluate([ruleOf()], [poolAt(utilisation)], NOW)[0]?.reading).toBe(reading);
});

test.each<[RuleScope, number]>([
  [{}, 1],
  [{ upstream: "acme-prod", pool: "opus-5", lane: "standard", limiter: "input_tokens" }, 1],
  [{ upstream: "other" }, 0],
  [{ pool: "sonnet-5" }, 0],
  [{ lane: "fast" }, 0],
  [{ limiter: "requests" }, 0],
])("the scope %o watches %i limiters", (scope, count) => {
  expect(evaluate([ruleOf({ scope })], [poolAt(0.5)], NOW)).toHaveLength(count);
});

test("a disabled rule watches nothing, and neither does any rule at a limiter without a limit", () => {
  expect(evaluate([ruleOf({ enabled: false })], [poolAt(0.9)], NOW)).toEqual([]);
  const unknown = poolAt(Number.NaN, { limiterPatch: { limit: 0, utilisation: Number.NaN } });
  expect(evaluate([ruleOf()], [unknown], NOW)).toEqual([]);
});

test("a guessed limit never fires critical", () => {
  const severityFrom = (source: "header" | "rate_limits_api" | "operator" | "published") =>
    evaluate([ruleOf({ severity: "critical" })], [poolAt(0.99, { limiterPatch: { source } })], NOW)[0]?.severity;
  expect(severityFrom("published")).toBe("warning");
  expect(severityFrom("header")).toBe("critical");
  expect(severityFrom("rate_limits_api")).toBe("critical");
  expect(severityFrom("operator")).toBe("critical");
});

test("every upstream, pool, lane and limiter is an incident of its own", () => {
  const pools = [
    poolAt(0.9),
    poolAt(0.9, { key: "acme-prod/opus-5/fast", lane: "fast" }),
    poolAt(0.9, { key: "b/opus-5/standard", upstream: "b" }),
  ];
  const keys = evaluate([ruleOf(), ruleOf({ id: "0b8f6a2e-6d0a-4f43-9d7e-5f3c0f6f0a02" })], pools, NOW).map(
    ({ key }) => key,
  );
  expect(new Set(keys).size).toBe(6);
});
