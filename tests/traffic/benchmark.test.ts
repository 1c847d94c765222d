import { describe, expect, test } from "vitest";
import { POLICIES } from "../bench/admission-policies.ts";
import { simulate } from "../bench/admission-run.ts";
import { scenario } from "../bench/admission-scenarios.ts";

/** Few of many: `npm run bench -- admission` measures all scenarios of the reference. */
describe("traffic control uses all of the limit and never hits it", () => {
  test("at three times the load, in bursts, with a fifth of the limit taken by others", () => {
    const figures = simulate(scenario("any", { load: 3, shape: "bursty" }, { foreign: true }), "headroom", 22);
    expect(figures.client429).toBe(0);
    expect(figures.upstream429).toBeLessThan(0.001);
    expect(figures.goodput).toBeGreaterThan(0.98);
    expect(figures.waitS.critical.p99).toBeLessThan(1);
    expect(figures.jain.normal).toBeGreaterThan(0.9);
  });

  test("with the limit halved in mid-run", () => {
    const figures = simulate(
      scenario("any", { load: 3 }, { upstream: { limitChange: { atS: 1_200, factor: 0.5 } } }),
      "headroom",
      21,
    );
    expect(figures.client429).toBe(0);
    expect(figures.upstream429).toBeLessThan(0.001);
    expect(figures.goodput).toBeGreaterThan(0.98);
  });

  test("with buckets that hold five seconds of limit, and prompts as large as they are", () => {
    const figures = simulate(scenario("any", { load: 3 }, { upstream: { burstS: 5 } }), "headroom", 24);
    expect(figures.client429).toBe(0);
    expect(figures.upstream429).toBeLessThan(0.0055);
    expect(figures.goodput).toBeGreaterThan(0.98);
    expect(figures.waitS.critical.p99).toBeLessThan(7);
    expect(figures.waitS.high.p99).toBeLessThan(50);
  });

  test("where passing through with the SDK's retries fails most calls", () => {
    const figures = simulate(scenario("any", { load: 3 }), "pass-through", 21);
    expect(figures.client429).toBeGreaterThan(0.5);
    expect(figures.upstream429).toBeGreaterThan(0.8);
  });
});

test("every policy meets the same calls, and the same seed gives the same figures", () => {
  const tiny = scenario("any", { load: 0.2 });
  for (const policy of POLICIES) expect(simulate(tiny, policy, 3)).toEqual(simulate(tiny, policy, 3));
});
