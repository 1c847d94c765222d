import { describe, expect, test } from "vitest";
import { OrganizationLimits } from "../../lib/simulator/organization-limits.ts";
import { Pace } from "../../lib/simulator/pace.ts";
import { seeded } from "../../lib/simulator/seeded.ts";

const START = Date.UTC(2026, 10, 22, 10, 0, 0);
const limits = { "opus-5.5": { requests: 50, input_tokens: 30_000, output_tokens: 8_000 } };
const call = (inputTokens: number) => ({ pool: "opus-5.5", lane: "standard" as const, inputTokens });

describe("admission", () => {
  test("tells limits, what is left after this call, and when each bucket will be full", () => {
    const organization = new OrganizationLimits("start", limits);
    const admission = organization.admit(call(12_345), START);
    expect(admission.admitted).toBe(true);
    expect(admission.headers).toEqual({
      "anthropic-ratelimit-requests-limit": "50",
      "anthropic-ratelimit-requests-remaining": "49",
      "anthropic-ratelimit-requests-reset": "2026-11-22T10:00:02Z",
      "anthropic-ratelimit-input-tokens-limit": "30000",
      "anthropic-ratelimit-input-tokens-remaining": "18000",
      "anthropic-ratelimit-input-tokens-reset": "2026-11-22T10:00:25Z",
      "anthropic-ratelimit-output-tokens-limit": "8000",
      "anthropic-ratelimit-output-tokens-remaining": "8000",
      "anthropic-ratelimit-output-tokens-reset": "2026-11-22T10:00:00Z",
      "anthropic-ratelimit-tokens-limit": "38000",
      "anthropic-ratelimit-tokens-remaining": "26000",
      "anthropic-ratelimit-tokens-reset": "2026-11-22T10:00:25Z",
    });
  });

  test.each([
    [499, "30000"],
    [501, "29000"],
    [1_499, "29000"],
    [1_501, "28000"],
    [29_501, "0"],
    [29_499, "1000"],
  ])("rounds what is left after %i input tokens to thousands", (inputTokens, left) => {
    const admission = new OrganizationLimits("start", limits).admit(call(inputTokens), START);
    expect(admission.headers["anthropic-ratelimit-input-tokens-remaining"]).toBe(left);
  });

  test("refuses a call that does not fit, and says how long until one of its size does", () => {
    const organization = new OrganizationLimits("start", limits);
    organization.admit(call(25_000), START);
    const refused = organization.admit(call(15_000), START);
    expect(refused).toMatchObject({
      admitted: false,
      limiter: "input_tokens",
      limit: 30_000,
      // 10,000 short at 500 a second.
      retryAfterSeconds: 20,
    });
    expect(refused.headers["anthropic-ratelimit-input-tokens-remaining"]).toBe("0");
    // Nothing was taken by the refusal.
    expect(refused.headers["anthropic-ratelimit-requests-remaining"]).toBe("49");
    expect(organization.admit(call(5_000), START).admitted).toBe(true);
  });

  test("admits the refused size when the time it was given has passed, and not a second before", () => {
    const organization = new OrganizationLimits("start", limits);
    organization.admit(call(25_000), START);
    expect(organization.admit(call(15_000), START + 19_000).admitted).toBe(false);
    expect(organization.admit(call(15_000), START + 20_000).admitted).toBe(true);
  });

  test("names the limiter that keeps the call waiting longest", () => {
    const organization = new OrganizationLimits("start", {
      "opus-5.5": { requests: 1, input_tokens: 60_000, output_tokens: 8_000 },
    });
    organization.admit(call(59_000), START);
    expect(organization.admit(call(11_000), START)).toMatchObject({ limiter: "requests", retryAfterSeconds: 60 });
  });

  test("lets a call in while output is above zero, and refuses it below", () => {
    const organization = new OrganizationLimits("start", limits);
    const first = organization.admit(call(10), START);
    if (!first.admitted) throw new Error("refused");
    const pace = new Pace(8_100, Number.POSITIVE_INFINITY, START);
    first.charge.begin(pace, START);
    first.charge.end(pace, START);
    const refused = organization.admit(call(10), START);
    expect(refused).toMatchObject({ admitted: false, limiter: "output_tokens", limit: 8_000, retryAfterSeconds: 1 });
    expect(refused.headers["anthropic-ratelimit-output-tokens-remaining"]).toBe("0");
    expect(refused.headers["anthropic-ratelimit-output-tokens-reset"]).toBe("2026-11-22T10:01:01Z");
    expect(organization.admit(call(10), START + 1_000).admitted).toBe(true);
  });

  test("keeps pools apart, and models of one pool together", () => {
    const organization = new OrganizationLimits("start", { "opus-4.x": { requests: 1 } });
    const admit = (pool: string) => organization.admit({ ...call(1), pool }, START).admitted;
    expect([admit("opus-4.x"), admit("opus-4.x"), admit("opus-5")]).toEqual([true, false, true]);
  });

  test("draws a fast call's tokens from the fast pool and its request from the ordinary one", () => {
    const organization = new OrganizationLimits("start", {
      ...limits,
      "opus-5.5/fast": { input_tokens: 5_000, output_tokens: 1_000 },
    });
    const fast = { ...call(4_000), lane: "fast" as const };
    const admission = organization.admit(fast, START);
    expect(admission.headers).toMatchObject({
      "anthropic-fast-input-tokens-limit": "5000",
      "anthropic-fast-input-tokens-remaining": "1000",
      "anthropic-fast-input-tokens-reset": "2026-11-22T10:00:48Z",
      "anthropic-fast-output-tokens-limit": "1000",
      "anthropic-ratelimit-requests-remaining": "49",
      "anthropic-ratelimit-input-tokens-remaining": "30000",
    });
    expect(organization.admit(fast, START)).toMatchObject({ admitted: false, lane: "fast", limiter: "input_tokens" });
    expect(organization.admit(call(4_000), START).admitted).toBe(true);
  });

  test("serves a Priority Tier call from the commitment and the ordinary limits, and at standard when it is used up", () => {
    const organization = new OrganizationLimits("start", {
      "opus-4.x/priority": { input_tokens: 1_000, output_tokens: 1_000 },
    });
    const priority = { pool: "opus-4.x", lane: "priority" as const, inputTokens: 900 };
    const first = organization.admit(priority, START);
    expect(first).toMatchObject({ admitted: true, lane: "priority" });
    expect(first.headers).toMatchObject({
      "anthropic-priority-input-tokens-limit": "1000",
      "anthropic-priority-input-tokens-remaining": "0",
      "anthropic-ratelimit-requests-remaining": "999",
    });
    expect(organization.admit(priority, START)).toMatchObject({ admitted: true, lane: "standard" });
    expect(organization.admit({ ...priority, pool: "opus-5" }, START)).toMatchObject({ lane: "standard" });
  });

  test("is taken down by somebody else's use", () => {
    const organization = new OrganizationLimits("start", limits);
    organization.drain("opus-5.5", { input_tokens: 40_000 }, START);
    expect(organization.levels(START)["opus-5.5"]?.input_tokens).toEqual({
      limit: 30_000,
      level: -10_000,
      taken: 40_000,
    });
    expect(organization.admit(call(1_000), START)).toMatchObject({ admitted: false, retryAfterSeconds: 22 });
  });

  test("over any run gives out no more of any limiter than capacity and refill", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const random = seeded(seed);
      const organization = new OrganizationLimits("start", limits);
      const sums = { requests: 0, input: 0 };
      let now = START;
      for (let step = 0; step < 500; step += 1) {
        now += Math.floor(random() * 800);
        const inputTokens = Math.floor(random() * 6_000);
        const admission = organization.admit(call(inputTokens), now);
        const levels = organization.levels(now)["opus-5.5"];
        if (!levels) throw new Error("no levels");
        for (const { level, limit } of Object.values(levels)) expect(level).toBeLessThanOrEqual(limit);
        if (!admission.admitted) {
          expect(admission.retryAfterSeconds).toBeGreaterThanOrEqual(1);
          continue;
        }
        sums.requests += 1;
        sums.input += inputTokens;
        const pace = new Pace(Math.floor(random() * 500), 50, now);
        admission.charge.begin(pace, now);
        const refilled = (now - START) / 60_000;
        expect(sums.requests).toBeLessThanOrEqual(50 * (1 + refilled) + 1e-9);
        expect(sums.input).toBeLessThanOrEqual(30_000 * (1 + refilled) + 1e-9);
      }
    }
  });

  test("takes the published limits of the tier, and those of Fable 5.x where none are published", () => {
    const organization = new OrganizationLimits("scale");
    expect(organization.limitsOf("opus-5")).toEqual({
      requests: 10_000,
      input_tokens: 10_000_000,
      output_tokens: 2_000_000,
    });
    expect(organization.limitsOf("fable-5.2").input_tokens).toBe(4_000_000);
  });
});
