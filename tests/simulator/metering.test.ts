import { describe, expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { HELLO, simulate } from "./simulator-client.ts";

const SEARCH = { type: "web_search_20260318" as const, name: "web_search" as const };
const LONG = "All that is gold does not glitter. ".repeat(200);

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

const wishes = (headers: Record<string, string>) => ({ headers });

describe("a web search", () => {
  test("is counted, and each makes the next sampling read the prompt again", async () => {
    const { simulator, client } = await simulate({ clock: new ManualClock() });
    const headers = { "x-simulator-web-searches": "2", "x-simulator-input-tokens": "1000" };
    const ask = { ...HELLO, tools: [SEARCH] };
    const options = wishes({ ...headers, "x-simulator-output-tokens": "100" });
    const message = await client.messages.create(ask, options);
    expect(message.usage.server_tool_use).toEqual({ web_search_requests: 2, web_fetch_requests: 0 });
    expect(message.content.map((block) => block.type)).toEqual([
      "server_tool_use",
      "web_search_tool_result",
      "server_tool_use",
      "web_search_tool_result",
      "text",
    ]);
    // 1,000, then what was made and 1,200 tokens of pages on top, twice.
    expect(message.usage.input_tokens).toBe(1_000 + (1_000 + 25 + 1_200) + (1_000 + 50 + 2_400));
    expect(message.usage.output_tokens).toBe(100);
    expect(simulator.ledger.entries[0]).toMatchObject({
      webSearchRequests: 2,
      usage: { inputTokens: message.usage.input_tokens, output: 100 },
    });
    expect(simulator.levels()["opus-5.5"]?.input_tokens.level).toBe(2_000_000 - message.usage.input_tokens);
    expect(simulator.levels().web_search?.requests.level).toBe(998);
  });

  test("makes the input of a stream grow from message_delta to message_delta, as totals", async () => {
    const { simulator, client } = await simulate();
    const options = wishes({ "x-simulator-web-searches": "2", "x-simulator-input-tokens": "1000" });
    const events = await collect(await client.messages.create({ ...HELLO, tools: [SEARCH], stream: true }, options));
    const start = events.find((event) => event.type === "message_start");
    const deltas = events.filter((event) => event.type === "message_delta");
    expect(start?.message.usage.input_tokens).toBe(1_000);
    const told = deltas.map(({ usage, delta }) => [
      usage.input_tokens,
      usage.server_tool_use?.web_search_requests,
      delta.stop_reason,
    ]);
    expect(told).toEqual([
      [3_225, 1, null],
      [6_675, 2, null],
      [6_675, 2, "end_turn"],
    ]);
    const final = await client.messages.stream({ ...HELLO, tools: [SEARCH] }, options).finalMessage();
    expect(final.usage.input_tokens).toBe(6_675);
    await simulator.idle();
    expect(simulator.ledger.sums.webSearchRequests).toBe(4);
  });

  test("is billed as far as it got when the client hangs up", async () => {
    const clock = new ManualClock();
    const { simulator, post } = await simulate({ clock, tokensPerSecond: 10 });
    const headers = {
      "x-simulator-web-searches": "2",
      "x-simulator-input-tokens": "1000",
      "x-simulator-output-tokens": "100",
    };
    const response = await post({ ...HELLO, tools: [SEARCH], stream: true }, headers);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    clock.advance(3_000);
    while (!text.includes('"web_search_requests":1')) text += (await reader?.read())?.value ?? "";
    await reader?.cancel();
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({
      webSearchRequests: 1,
      usage: { inputTokens: 1_000 + 2_225, output: 30 },
    });
  });

  test("without room in its own limit says so in its result, and is not counted", async () => {
    const { client } = await simulate({ limits: { web_search: { requests: 1 } }, clock: new ManualClock() });
    const options = wishes({ "x-simulator-web-searches": "2" });
    const message = await client.messages.create({ ...HELLO, tools: [SEARCH] }, options);
    expect(message.usage.server_tool_use?.web_search_requests).toBe(1);
    expect(message.content[3]).toMatchObject({ content: { error_code: "too_many_requests" } });
  });

  test("is made when the prompt asks for it, and only with its tool", async () => {
    const { client, post } = await simulate();
    const messages = [{ role: "user" as const, content: "use the tool web_search" }];
    const message = await client.messages.create({ ...HELLO, max_tokens: 9_000, messages, tools: [SEARCH] });
    expect([message.usage.server_tool_use?.web_search_requests, message.stop_reason]).toEqual([1, "end_turn"]);
    expect((await post(HELLO, { "x-simulator-web-searches": "1" })).status).toBe(400);
  });
});

describe("iterations", () => {
  test("of compaction and an advisor are billed, by their own models, beside the totals", async () => {
    const { simulator, client } = await simulate({ clock: new ManualClock() });
    const message = await client.beta.messages.create(
      HELLO,
      wishes({
        "x-simulator-iterations": "compaction:5000/700, advisor=claude-sonnet-5-5:2000/150",
        "x-simulator-input-tokens": "1000",
        "x-simulator-output-tokens": "100",
      }),
    );
    const iterations = message.usage.iterations?.map((entry) => [
      entry.type,
      "model" in entry ? entry.model : null,
      entry.input_tokens,
      entry.output_tokens,
    ]);
    expect(iterations).toEqual([
      ["advisor_message", "claude-sonnet-5-5", 2_000, 150],
      ["compaction", null, 5_000, 700],
      ["message", "claude-opus-5-5", 1_000, 100],
    ]);
    expect([message.usage.input_tokens, message.usage.output_tokens]).toEqual([1_000, 100]);
    expect(message.content.map((block) => block.type)).toEqual([
      "compaction",
      "server_tool_use",
      "advisor_tool_result",
      "text",
    ]);
    const [entry] = simulator.ledger.entries;
    expect(entry?.usage).toMatchObject({ inputTokens: 8_000, output: 950 });
    expect(entry?.iterations?.map(({ model, usage }) => [model, usage.output])).toEqual([
      ["claude-sonnet-5-5", 150],
      ["claude-opus-5-5", 700],
      ["claude-opus-5-5", 100],
    ]);
    const levels = simulator.levels();
    expect(levels["sonnet-5.5"]).toMatchObject({ requests: { level: 999 }, input_tokens: { level: 1_998_000 } });
    expect(levels["sonnet-5.5"]?.output_tokens.level).toBe(400_000 - 150);
    expect(levels["opus-5.5"]?.input_tokens.level).toBe(2_000_000 - 6_000);
    expect(levels["opus-5.5"]?.output_tokens.level).toBe(400_000 - 800);
  });

  test("stream as they are whole", async () => {
    const { client } = await simulate();
    const options = wishes({ "x-simulator-iterations": "compaction,advisor=claude-opus-5" });
    const whole = await client.beta.messages.create(HELLO, options);
    const streamed = await client.beta.messages.stream(HELLO, options).finalMessage();
    const comparable = (message: typeof whole) =>
      JSON.stringify([message.content, message.usage]).replace(/srvtoolu_\w+/g, "");
    expect(comparable(streamed as typeof whole)).toBe(comparable(whole));
  });

  test("of compaction come when the prompt is as long as the caller said", async () => {
    const { simulator, client } = await simulate();
    const ask = (tokens: number) =>
      client.beta.messages.create(
        {
          ...HELLO,
          betas: ["compact-2026-01-12"],
          context_management: {
            edits: [{ type: "compact_20260112", trigger: { type: "input_tokens", value: 60_000 } }],
          },
        },
        wishes({ "x-simulator-input-tokens": String(tokens) }),
      );
    const short = await ask(59_999);
    expect(short.usage.iterations?.map((entry) => entry.type)).toEqual(["message"]);
    const long = await ask(60_000);
    expect(long.usage.iterations).toMatchObject([
      { type: "compaction", input_tokens: 60_000, output_tokens: 800 },
      { type: "message", input_tokens: 800 },
    ]);
    expect(long.usage.input_tokens).toBe(800);
    expect(simulator.ledger.entries[1]?.usage.inputTokens).toBe(60_800);
  });

  test("of an advisor come with its tool, and its want of room is told in the tool's result", async () => {
    const { client } = await simulate({ limits: { "sonnet-5.5": { requests: 1 } }, clock: new ManualClock() });
    const ask = () =>
      client.beta.messages.create({
        ...HELLO,
        betas: ["advisor-tool-2026-03-01"],
        tools: [{ type: "advisor_20260301", name: "advisor", model: "claude-sonnet-5-5" }],
      });
    const advised = await ask();
    expect(advised.usage.iterations?.map((entry) => entry.type)).toEqual(["advisor_message", "message"]);
    const unadvised = await ask();
    expect(unadvised.usage.iterations?.map((entry) => entry.type)).toEqual(["message"]);
    expect(unadvised.content[1]).toMatchObject({ content: { error_code: "too_many_requests" } });
  });

  test("of a fallback: the refusing model's attempt costs nothing, the serving model answers and pays", async () => {
    const { simulator, client } = await simulate({ clock: new ManualClock() });
    const message = await client.beta.messages.create(
      {
        ...HELLO,
        model: "claude-fable-5-1",
        betas: ["server-side-fallback-2026-07-01"],
        fallbacks: [{ model: "claude-opus-4-8" }],
      },
      wishes({
        "x-simulator-fault": "refusal",
        "x-simulator-input-tokens": "1000",
        "x-simulator-output-tokens": "100",
      }),
    );
    expect(message).toMatchObject({ model: "claude-opus-4-8", stop_reason: "end_turn" });
    expect(message.content[0]).toMatchObject({
      type: "fallback",
      from: { model: "claude-fable-5-1" },
      to: { model: "claude-opus-4-8" },
    });
    expect(message.usage.iterations).toMatchObject([
      { type: "message", model: "claude-fable-5-1", input_tokens: 1_000, output_tokens: 0 },
      { type: "fallback_message", model: "claude-opus-4-8", input_tokens: 1_000, output_tokens: 100 },
    ]);
    expect([message.usage.input_tokens, message.usage.output_tokens]).toEqual([1_000, 100]);
    const [entry] = simulator.ledger.entries;
    expect(entry).toMatchObject({ model: "claude-opus-4-8", billed: true });
    expect(entry?.usage).toMatchObject({ inputTokens: 1_000, output: 100 });
    expect(entry?.iterations?.map(({ billed }) => billed)).toEqual([false, true]);
    const levels = simulator.levels();
    expect(levels["fable-5.x"]?.input_tokens.level).toBe(500_000 - 1_000);
    expect(levels["opus-4.x"]?.output_tokens.level).toBe(400_000 - 100);
  });

  test("of a chain of fallbacks: each model that declines has an attempt and a block, and pays for what it made", async () => {
    const { simulator, client } = await simulate({ clock: new ManualClock() });
    const chain = "fallback=claude-sonnet-5, fallback=claude-opus-4-8:1000/7";
    const message = await client.beta.messages.create(
      { ...HELLO, model: "claude-fable-5-1", betas: ["server-side-fallback-2026-07-01"] },
      wishes({
        "x-simulator-iterations": chain,
        "x-simulator-input-tokens": "1000",
        "x-simulator-output-tokens": "100",
      }),
    );
    expect(message.model).toBe("claude-opus-4-8");
    expect(message.content).toMatchObject([
      { type: "fallback", from: { model: "claude-fable-5-1" }, to: { model: "claude-sonnet-5" } },
      { type: "fallback", from: { model: "claude-sonnet-5" }, to: { model: "claude-opus-4-8" } },
      { type: "text" },
    ]);
    expect(message.usage.iterations).toMatchObject([
      { type: "message", model: "claude-fable-5-1", input_tokens: 1_000, output_tokens: 0 },
      { type: "message", model: "claude-sonnet-5", input_tokens: 1_000, output_tokens: 7 },
      { type: "fallback_message", model: "claude-opus-4-8", input_tokens: 1_000, output_tokens: 100 },
    ]);
    const [entry] = simulator.ledger.entries;
    expect(entry?.usage).toMatchObject({ inputTokens: 2_000, output: 107 });
    expect(entry?.iterations?.map(({ billed }) => billed)).toEqual([false, true, true]);
    const levels = simulator.levels();
    expect(levels["fable-5.x"]?.input_tokens.level).toBe(500_000 - 1_000);
    expect(levels["sonnet-5"]?.output_tokens.level).toBe(400_000 - 7);
    expect(levels["opus-4.x"]?.output_tokens.level).toBe(400_000 - 100);
  });

  test("that are wished wrongly are refused with how to write them", async () => {
    const { post } = await simulate();
    for (const wish of ["advisor", "compaction=claude-opus-5-5", "fallback=gpt-9", "advisor=claude-opus-5:1"]) {
      const response = await post(HELLO, { "x-simulator-iterations": wish });
      expect((await response.json()).error.message).toContain("must be compaction, advisor=MODEL or fallback=MODEL");
    }
  });
});

describe("the ledger's entry", () => {
  test("names tier, speed and region as the answer's usage does", async () => {
    const limits = { "opus-4.x/priority": { input_tokens: 100_000, output_tokens: 10_000 } };
    const { simulator, client } = await simulate({ limits });
    const fast = await client.messages.create({ ...HELLO, speed: "fast", inference_geo: "us" });
    const priority = await client.messages.create({ ...HELLO, model: "claude-opus-4-8" }).withResponse();
    expect(fast.usage).toMatchObject({ speed: "fast", inference_geo: "us", service_tier: "standard" });
    expect(priority.data.usage.service_tier).toBe("priority");
    expect(priority.response.headers.get("anthropic-priority-input-tokens-limit")).toBe("100000");
    expect(simulator.ledger.entries).toMatchObject([
      { lane: "fast", speed: "fast", inferenceGeo: "us", serviceTier: "standard" },
      { lane: "priority", speed: "standard", inferenceGeo: "global", serviceTier: "priority" },
    ]);
  });

  test("of a long cached prompt that is searched for has every sampling's reads", async () => {
    const { simulator, client } = await simulate();
    const system = [{ type: "text" as const, text: LONG, cache_control: { type: "ephemeral" as const } }];
    const options = wishes({ "x-simulator-web-searches": "1" });
    const message = await client.messages.create({ ...HELLO, system, tools: [SEARCH] }, options);
    const written = message.usage.cache_creation_input_tokens ?? 0;
    expect(written).toBeGreaterThan(1_000);
    expect(message.usage.cache_read_input_tokens).toBe(written);
    expect(simulator.ledger.entries[0]?.usage).toMatchObject({ cacheWrite5m: written, cacheRead: written });
  });
});
