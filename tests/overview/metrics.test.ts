import { expect, test } from "vitest";
import { Metrics } from "../../lib/overview/metrics.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { callRecord } from "../support/call-record.ts";
import { OverviewSource } from "../support/overview-data.ts";

async function read(metrics: Metrics, controller = new TrafficController({ random: () => 0.5 })): Promise<string> {
  const { text } = await metrics.render(new OverviewSource("calm").first(), controller.snapshot(0), {
    ...{ hits: 3, misses: 4, bytes: 500 },
  });
  return text;
}

test("calls, tokens by kind and cost are summed by place, however often they are asked for", async () => {
  const metrics = new Metrics();
  const place = { upstream: "default", pool: "opus-5.5", model: "claude-opus-5-5" };
  const call = { ...place, inputTokens: 10, cacheReadTokens: 5, outputTokens: 2, costNanoUsd: 1_500_000_000 };
  metrics.add(callRecord({ ...call, outcome: "succeeded" }));
  metrics.add(callRecord({ ...call, outcome: "partial" }));
  const labels = 'upstream="default",pool="opus-5.5",model="claude-opus-5-5"';
  for (let asked = 0; asked < 2; asked += 1) {
    const text = await read(metrics);
    expect(text).toContain(`headroom_calls_total{${labels},outcome="succeeded"} 1\n`);
    expect(text).toContain(`headroom_calls_total{${labels},outcome="partial"} 1\n`);
    expect(text).toContain(`headroom_tokens_total{${labels},kind="input"} 20\n`);
    expect(text).toContain(`headroom_tokens_total{${labels},kind="cache_read"} 10\n`);
    expect(text).toContain(`headroom_cost_usd_total{${labels}} 3\n`);
  }
});

test("calls that the response cache answered and did not answer are counted, however often they are asked for", async () => {
  const metrics = new Metrics();
  for (let asked = 0; asked < 2; asked += 1) {
    const text = await read(metrics);
    expect(text).toContain('headroom_response_cache_calls_total{result="hit"} 3\n');
    expect(text).toContain('headroom_response_cache_calls_total{result="miss"} 4\n');
    expect(text).toContain("headroom_response_cache_bytes 500\n");
  }
});

test("models that callers make up cost no memory without bound: past 2,000 they are one", async () => {
  const metrics = new Metrics();
  for (let index = 0; index < 5_000; index += 1) metrics.add(callRecord({ model: `claude-made-up-${index}` }));
  const text = await read(metrics);
  const counts = [...text.matchAll(/^headroom_calls_total\{.*\} (\d+)$/gm)].map(([, count]) => Number(count));
  expect(counts).toHaveLength(2_001);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(5_000);
});

test("the mode of all pools and of those that are named is told, and no other", async () => {
  const controller = new TrafficController({ random: () => 0.5 });
  const metrics = new Metrics();
  const modes = async () =>
    [...(await read(metrics, controller)).matchAll(/^headroom_traffic_mode(.*)$/gm)].map(String);
  controller.setModes("observe", { "opus-5": "off" }, 0);
  expect(await modes()).toEqual([
    expect.stringContaining('{pool="*",mode="observe"} 1'),
    expect.stringContaining('{pool="opus-5",mode="off"} 1'),
  ]);
  controller.setModes("enforce", {}, 0);
  expect(await modes()).toEqual([expect.stringContaining('{pool="*",mode="enforce"} 1')]);
});
