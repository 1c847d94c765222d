import { expect, test } from "vitest";
import { Metrics } from "../../lib/overview/metrics.ts";
import type { TrafficCall } from "../../lib/traffic/ticket.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { callRecord } from "../support/call-record.ts";
import { OverviewSource } from "../support/overview-data.ts";
import { teach } from "../traffic/teach.ts";

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

test("traffic control's ledgers, reserves, streams, ramp and upstreams are told as they are", async () => {
  const metrics = new Metrics();
  const controller = new TrafficController({ random: () => 0.5 });
  const place = { upstream: "default", pool: "opus-5.5", lane: "standard" } as const;
  teach(controller, { ...place, group: "default" }, { requests: 1_000, input_tokens: 450_000, output_tokens: 90_000 });
  const call: TrafficCall = {
    ...{ group: "default", pool: "opus-5.5", lane: "standard", class: "normal", agent: "a", model: "claude-opus-5-5" },
    ...{ bytes: 4_000, maxTokens: 1_000, streams: true, deadlineS: null },
  };
  for (let index = 0; index < 7; index += 1) controller.arrive(call, 0);
  const [first, second] = controller.pump(0).admitted;
  controller.refused(first?.id ?? 0, { status: 429, cause: "acceleration", retryAfterS: 5, limits: {} }, 0);
  const labels = 'upstream="default",pool="opus-5.5",lane="standard"';
  const text = await read(metrics, controller);
  expect(text).toContain(`headroom_ledger_level{${labels},limiter="requests"} 994\n`);
  expect(text).toContain(`headroom_ledger_capacity{${labels},limiter="output_tokens"} 90000\n`);
  expect(text).toMatch(/headroom_ledger_reserve\{.*limiter="input_tokens",class="low"\} 0\.\d+\n/);
  expect(text).toContain(`headroom_open_streams{${labels}} 6\n`);
  expect(text).toMatch(/headroom_ramp_rate\{.*\} 0\.\d+\n/);
  expect(text).toContain(`headroom_paused_seconds{${labels}} 5\n`);
  expect(text).toContain('headroom_breaker{upstream="default",state="closed"} 1\n');
  expect(text).not.toContain("headroom_upstream_stopped{");

  expect(controller.pump(0).admitted).toEqual([]);
  controller.refused(second?.id ?? 0, { status: 429, cause: "spend_cap", retryAfterS: null, limits: {} }, 0);
  expect(await read(metrics, controller)).toContain(
    'headroom_upstream_stopped{upstream="default",cause="spend_cap"} 1\n',
  );
});
