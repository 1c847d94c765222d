import { expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import type { SimulatorOptions } from "../../lib/simulator/simulator.ts";
import { HELLO, KEY, simulate } from "./simulator-client.ts";

const ADMIN_KEY = "sk-ant-admin01-test";
const SEARCH = { type: "web_search_20250305", name: "web_search" };
const DAY = 86_400_000;
const USAGE = "usage_report/messages";
const COST = "cost_report";

async function upstream(options: SimulatorOptions = {}) {
  const clock = new ManualClock(Date.UTC(2026, 10, 23, 8));
  const { simulator, post } = await simulate({ clock, ...options });
  const ask = (report: string, query: string, key = ADMIN_KEY) =>
    fetch(`${simulator.url}/v1/organizations/${report}?${query}`, {
      headers: { "x-api-key": key, "anthropic-version": "2023-06-01" },
    });
  const read = async (report: string, query: string) => {
    const answer = await ask(report, query);
    expect(answer.status).toBe(200);
    return answer.json();
  };
  const call = async (model: string, wishes: Record<string, string | number>) => {
    const answer = await post(
      { ...HELLO, model, tools: "web-searches" in wishes ? [SEARCH] : [] },
      Object.fromEntries(Object.entries(wishes).map(([name, value]) => [`x-simulator-${name}`, String(value)])),
    );
    expect(answer.status).toBe(200);
    return (await answer.json()).usage;
  };
  return { clock, ask, read, call };
}

test("usage is told by day and model, without the calls of the last half hour", async () => {
  const { clock, read, call } = await upstream();
  await call("claude-opus-5-5", { "input-tokens": 1_000, "cache-read-tokens": 300, "output-tokens": 50 });
  const searching = await call("claude-opus-5-5", { "input-tokens": 500, "output-tokens": 7, "web-searches": 2 });
  await call("claude-haiku-4-5", { "input-tokens": 10_000, "cache-write-tokens": 6_000, "output-tokens": 1 });
  clock.advance(DAY);
  await call("claude-opus-5-5", { "input-tokens": 9, "output-tokens": 9 });

  const query = "starting_at=2026-11-22T13:00:00Z&bucket_width=1d&group_by[]=model";
  const report = await read(USAGE, query);
  expect(report).toMatchObject({ has_more: false, next_page: null });
  expect(report.data.map(({ starting_at }: { starting_at: string }) => starting_at)).toEqual([
    "2026-11-22T00:00:00Z",
    "2026-11-23T00:00:00Z",
    "2026-11-24T00:00:00Z",
  ]);
  expect(report.data[0].results).toEqual([]);
  expect(report.data[1]).toEqual({
    starting_at: "2026-11-23T00:00:00Z",
    ending_at: "2026-11-24T00:00:00Z",
    results: [
      {
        uncached_input_tokens: 700 + searching.input_tokens,
        cache_creation: { ephemeral_1h_input_tokens: 0, ephemeral_5m_input_tokens: 0 },
        cache_read_input_tokens: 300,
        output_tokens: 50 + searching.output_tokens,
        server_tool_use: { web_search_requests: 2 },
        model: "claude-opus-5-5",
      },
      {
        uncached_input_tokens: 4_000,
        cache_creation: { ephemeral_1h_input_tokens: 0, ephemeral_5m_input_tokens: 6_000 },
        cache_read_input_tokens: 0,
        output_tokens: 1,
        server_tool_use: { web_search_requests: 0 },
        model: "claude-haiku-4-5-20251001",
      },
    ],
  });
  expect(report.data[2].results).toEqual([]);
  clock.advance(30 * 60_000);
  expect((await read(USAGE, query)).data[2].results).toMatchObject([{ output_tokens: 9 }]);
  const ungrouped = await read(USAGE, "starting_at=2026-11-23T00:00:00Z&ending_at=2026-11-24T00:00:00Z");
  expect(ungrouped.data).toMatchObject([
    { results: [{ uncached_input_tokens: 4_700 + searching.input_tokens, model: null }] },
  ]);
});

test("each sampling of an answer is its own model's", async () => {
  const { clock, read, call } = await upstream();
  await call("claude-opus-5-5", {
    "input-tokens": 100,
    "output-tokens": 10,
    iterations: "advisor=claude-fable-5-1:40/4",
  });
  clock.advance(DAY);
  const { data } = await read(USAGE, "starting_at=2026-11-23T00:00:00Z&group_by[]=model&limit=1");
  const tokens = data[0].results.map((row: Record<string, unknown>) => [row.model, row.uncached_input_tokens]);
  expect(Object.fromEntries(tokens)).toMatchObject({ "claude-opus-5-5": 100, "claude-fable-5-1": 40 });
});

test("costs are decimal cents, by kind of token and model only under their description", async () => {
  const { clock, read, call } = await upstream();
  const first = await call("claude-opus-5-5", { "input-tokens": 1_001, "output-tokens": 50 });
  expect(first).toMatchObject({ input_tokens: 1_001, output_tokens: 50 });
  clock.advance(DAY);
  const query = "starting_at=2026-11-23T00:00:00Z&ending_at=2026-11-24T00:00:00Z";
  const whole = await read(COST, query);
  expect(whole.data[0].results).toEqual([
    {
      // 1,001 x 4,000 + 50 x 20,000 nano-dollars.
      amount: "0.5004",
      currency: "USD",
      description: null,
      cost_type: null,
      model: null,
      token_type: null,
      service_tier: null,
    },
  ]);
  const described = await read(COST, `${query}&group_by[]=description`);
  expect(described.data[0].results).toMatchObject([
    { amount: "0.4004", model: "claude-opus-5-5", cost_type: "tokens", token_type: "uncached_input_tokens" },
    { amount: "0.1", model: "claude-opus-5-5", cost_type: "tokens", token_type: "output_tokens" },
  ]);
  await call("claude-opus-5-5", { "web-searches": 3 });
  clock.advance(DAY);
  const later = await read(COST, "starting_at=2026-11-24T00:00:00Z&limit=1&group_by[]=description");
  expect(later.data[0].results).toContainEqual(
    expect.objectContaining({ amount: "3", model: null, cost_type: "web_search", token_type: null }),
  );
});

test("pages follow each other without a gap and end", async () => {
  const { clock, read, call } = await upstream();
  for (let day = 0; day < 5; day++) {
    await call("claude-opus-5-5", { "input-tokens": 100 + day, "output-tokens": 1 });
    clock.advance(DAY);
  }
  for (const report of [USAGE, COST]) {
    const query = "starting_at=2026-11-23T00:00:00Z&ending_at=2026-11-28T00:00:00Z";
    const { data: all, has_more } = await read(report, query);
    expect([all.length, has_more]).toEqual([5, false]);
    const paged = [];
    let page = "";
    for (;;) {
      const answer = await read(report, `${query}&limit=2${page}`);
      paged.push(...answer.data);
      if (!answer.has_more) break;
      page = `&page=${answer.next_page}`;
    }
    expect(paged).toEqual(all);
  }
});

test("what the API would not take is refused in its error shape", async () => {
  const { ask } = await upstream();
  const from = "starting_at=2026-11-23T00:00:00Z";
  for (const [report, query, message] of [
    [USAGE, "", /starting_at: Field required/],
    [USAGE, "starting_at=yesterday", /starting_at/],
    [USAGE, `${from}&ending_at=2026-11-22T00:00:00Z`, /ending_at/],
    [USAGE, `${from}&bucket_width=1w`, /bucket_width/],
    [USAGE, `${from}&limit=32`, /limit/],
    [USAGE, `${from}&page=x`, /page/],
    [USAGE, `${from}&group_by[]=colour`, /group_by/],
    [COST, `${from}&bucket_width=1h`, /bucket_width/],
    // Costs know models only by their description.
    [COST, `${from}&group_by[]=model`, /group_by/],
  ] as const) {
    const answer = await ask(report, query);
    expect([query, answer.status]).toEqual([query, 400]);
    expect(await answer.json()).toMatchObject({
      type: "error",
      error: { type: "invalid_request_error", message: expect.stringMatching(message) },
    });
  }
  for (const report of [USAGE, COST]) {
    const answer = await ask(report, from, KEY);
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ type: "error", error: { type: "authentication_error" } });
  }
});
