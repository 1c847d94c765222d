import { expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { Costs } from "../../lib/overview/costs.ts";
import { callRecord } from "../support/call-record.ts";

test("a caller that is another agent with every call grows no list, hides no agent and loses no money", () => {
  const nowMs = Date.parse("2026-11-23T12:00:00Z");
  const costs = new Costs({ clock: new ManualClock(nowMs) });
  const startedAt = new Date(nowMs).toISOString();
  const add = (agent: string, costNanoUsd: number) => costs.add(callRecord({ agent, costNanoUsd, startedAt }));
  for (let call = 0; call < 20_000; call += 1) {
    add(`nobody-${call}`, 1);
    if (call % 100 === 0) add("planner", 1_000);
  }
  const known = Array.from({ length: 20_000 }, (_, call) => costs.ofAgent(`nobody-${call}`)).filter((nano) => nano > 0);
  expect(known.length).toBeLessThanOrEqual(4_000);
  expect(costs.ofAgent("planner")).toBe(200_000);
  expect(costs.today().todayNanoUsd).toBe(220_000);
});
