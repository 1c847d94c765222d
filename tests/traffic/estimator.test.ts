import { describe, expect, test } from "vitest";
import { logNormal, seeded } from "../../lib/simulator/seeded.ts";
import { Estimator } from "../../lib/traffic/estimator.ts";

describe("the estimator", () => {
  test("expects of an unknown agent a usual answer, within what it may produce", () => {
    const shape = new Estimator().of("agent", "model");
    expect(shape.remainingOutput(0, 8_192)).toBe(700);
    expect(shape.remainingOutput(0, 100)).toBe(100);
    expect(shape.remainingOutput(100, 100)).toBe(0);
  });

  test("learns each agent's own length, and of a new agent expects the model's", () => {
    const estimator = new Estimator();
    const random = seeded(1);
    for (let call = 0; call < 300; call += 1) {
      estimator.of("brief", "model").learnOutput(Math.round(logNormal(random, 100, 0.3)), 3);
      estimator.of("long", "model").learnOutput(Math.round(logNormal(random, 2_000, 0.3)), 30);
    }
    expect(estimator.of("brief", "model").remainingOutput(0, 8_192)).toBeLessThan(200);
    expect(estimator.of("long", "model").remainingOutput(0, 8_192)).toBeGreaterThan(1_700);
    const fresh = estimator.of("new", "model").remainingOutput(0, 8_192);
    expect(fresh).toBeGreaterThan(300);
    expect(fresh).toBeLessThan(1_700);
  });

  test("expects more still to come of an answer that has outgrown the usual", () => {
    const estimator = new Estimator();
    const random = seeded(2);
    const shape = estimator.of("agent", "model");
    for (let call = 0; call < 2_000; call += 1) shape.learnOutput(Math.round(logNormal(random, 400, 1.2)), 5);
    expect(shape.remainingOutput(3_000, 16_384)).toBeGreaterThan(shape.remainingOutput(200, 16_384));
  });

  test("learns tokens by the byte and how much the cache serves", () => {
    const shape = new Estimator().of("agent", "model");
    expect(shape.inputTokens(4_000)).toBe(1_000);
    for (let call = 0; call < 60; call += 1) shape.learnInput(5_000, 100, 1_000);
    expect(shape.inputTokens(5_000)).toBeCloseTo(1_000, 0);
    expect(shape.cacheHit).toBeCloseTo(0.9, 2);
  });

  test("does not take a picture's bytes for text of other agents", () => {
    const estimator = new Estimator();
    for (let call = 0; call < 60; call += 1) estimator.of("pictures", "model").learnInput(2_000_000, 1_500, 1_500);
    expect(estimator.of("pictures", "model").inputTokens(2_000_000)).toBeLessThan(12_000);
    expect(estimator.of("text", "model").inputTokens(4_000)).toBeGreaterThan(300);
  });

  test("forgets the agents that were longest not seen, and keeps its memory bounded", () => {
    const estimator = new Estimator();
    const first = estimator.of("agent-0", "model");
    for (let index = 1; index <= 5_000; index += 1) estimator.of(`agent-${index}`, "model");
    expect(estimator.of("agent-0", "model")).not.toBe(first);
    expect(estimator.of("agent-4999", "model")).toBe(estimator.of("agent-4999", "model"));
  });
});
