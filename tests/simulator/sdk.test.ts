import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import Anthropic from "@anthropic-ai/sdk";
import { request } from "undici";
import { describe, expect, test } from "vitest";
import { HELLO, KEY, simulate } from "./simulator-client.ts";

const WEATHER = {
  name: "get_weather",
  input_schema: {
    type: "object" as const,
    properties: { city: { type: "string" }, days: { type: "integer", minimum: 3 } },
    required: ["city", "days"],
  },
};

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

describe("the official SDK", () => {
  test("gets a whole message, and the ledger holds the same tokens", async () => {
    const { simulator, client } = await simulate();
    const { data, response } = await client.messages.create(HELLO).withResponse();
    expect(data).toMatchObject({
      type: "message",
      role: "assistant",
      model: "claude-opus-5-5",
      stop_reason: "end_turn",
    });
    expect(data.id).toMatch(/^msg_011C\w{20}$/);
    expect(data.content[0]).toMatchObject({ type: "text", text: expect.stringMatching(/\w/) });
    const [entry] = simulator.ledger.entries;
    expect(entry).toMatchObject({
      requestId: response.headers.get("request-id"),
      model: "claude-opus-5-5",
      pool: "opus-5.5",
      endpoint: "/v1/messages",
      status: 200,
      streamed: false,
      clientGone: false,
      billed: true,
    });
    expect(entry?.usage).toEqual({
      inputTokens: data.usage.input_tokens,
      cacheWrite5m: 0,
      cacheWrite1h: 0,
      cacheRead: 0,
      output: data.usage.output_tokens,
    });
    expect(entry?.rateLimitHeaders["anthropic-ratelimit-requests-limit"]).toBe("1000");
    for (const [name, value] of Object.entries(entry?.rateLimitHeaders ?? {})) {
      expect(response.headers.get(name)).toBe(value);
    }
    expect(response.headers.get("anthropic-organization-id")).toBeTruthy();
    expect(response.headers.get("anthropic-workspace-id")).toMatch(/^wrkspc_/);
  });

  test("streams the same message that it gets whole", async () => {
    const { simulator, client } = await simulate();
    const types: string[] = [];
    const stream = client.messages.stream({ ...HELLO, system: "Be brief.", thinking: { type: "adaptive" } });
    stream.on("streamEvent", (event) => types.push(event.type));
    const message = await stream.finalMessage();
    expect(types[0]).toBe("message_start");
    expect(types.at(-2)).toBe("message_delta");
    expect(types.at(-1)).toBe("message_stop");
    expect(message.content.map((block) => block.type)).toEqual(["thinking", "text"]);
    expect(message.usage.output_tokens).toBeGreaterThan(message.usage.output_tokens_details?.thinking_tokens ?? 0);
    await simulator.idle();
    expect(simulator.ledger.entries[0]?.usage.output).toBe(message.usage.output_tokens);
    expect(simulator.ledger.entries[0]?.streamed).toBe(true);
  });

  test("reads the first usage whole and the last one as totals", async () => {
    const { client } = await simulate();
    const events = await collect(await client.messages.create({ ...HELLO, stream: true, inference_geo: "us" }));
    const [start, delta] = [events[0], events.at(-2)];
    if (start?.type !== "message_start" || delta?.type !== "message_delta") throw new Error("unexpected events");
    expect(start.message.usage).toMatchObject({
      output_tokens: 1,
      cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
      service_tier: "standard",
      inference_geo: "us",
      speed: "standard",
    });
    expect(start.message.stop_reason).toBeNull();
    expect(delta.usage.input_tokens).toBe(start.message.usage.input_tokens);
    expect(delta.usage.output_tokens).toBeGreaterThan(1);
    expect(delta.delta.stop_reason).toBe("end_turn");
  });

  test("calls a tool that the prompt asks for, and gets text for its result", async () => {
    const { client } = await simulate();
    const question = {
      role: "user" as const,
      content: 'Please use the tool get_weather with {"city":"Zürich 😀"}.',
    };
    const params = { ...HELLO, tools: [WEATHER], messages: [question] };
    const asked = await client.messages.stream(params).finalMessage();
    expect(asked.stop_reason).toBe("tool_use");
    const [use] = asked.content;
    if (use?.type !== "tool_use") throw new Error("no tool use");
    expect(use).toMatchObject({ name: "get_weather", input: { city: "Zürich 😀" }, caller: { type: "direct" } });
    const result = { type: "tool_result" as const, tool_use_id: use.id, content: "Sunny." };
    const answer = await client.messages.create({
      ...params,
      messages: [question, { role: "assistant", content: asked.content }, { role: "user", content: [result] }],
    });
    expect(answer.content.map((block) => block.type)).toEqual(["text"]);
  });

  test("gets an input that fits the tool's schema when it forces the tool", async () => {
    const { client } = await simulate();
    const forced = { ...HELLO, tools: [WEATHER], tool_choice: { type: "tool" as const, name: "get_weather" } };
    const message = await client.messages.create(forced);
    expect(message.content).toMatchObject([{ type: "tool_use", input: { city: "simulated", days: 3 } }]);
  });

  test("gets structured output that fits its schema", async () => {
    const { client } = await simulate();
    const schema = {
      type: "object",
      properties: { title: { type: "string" }, done: { type: "boolean" } },
      required: ["title", "done"],
      additionalProperties: false,
    };
    const message = await client.messages.create({
      ...HELLO,
      output_config: { effort: "low", format: { type: "json_schema", schema } },
    });
    const [block] = message.content;
    expect(JSON.parse(block?.type === "text" ? block.text : "")).toEqual({ title: "simulated", done: false });
  });

  test("sends the whole of its parameters, stable and beta, and is understood", async () => {
    const { client } = await simulate();
    const message = await client.beta.messages.create({
      ...HELLO,
      betas: ["context-management-2025-06-27", "mcp-client-2025-11-20", "compact-2026-01-12"],
      system: [{ type: "text", text: "Be brief.", cache_control: { type: "ephemeral", ttl: "1h" } }],
      metadata: { user_id: "someone" },
      service_tier: "auto",
      inference_geo: "global",
      stop_sequences: ["END"],
      thinking: { type: "enabled", budget_tokens: 1_024 },
      max_tokens: 2_000,
      context_management: { edits: [{ type: "clear_thinking_20251015", keep: "all" }] },
      mcp_servers: [{ type: "url", name: "docs", url: "https://example.com/mcp" }],
      tools: [
        { type: "web_search_20260318", name: "web_search" },
        WEATHER,
        { type: "mcp_toolset", mcp_server_name: "docs" },
      ],
      tool_choice: { type: "auto", disable_parallel_tool_use: true },
      container: "container_1",
      output_config: { effort: "xhigh" },
      cache_control: { type: "ephemeral" },
    });
    expect(message.context_management).toEqual({ applied_edits: [] });
    expect(message.usage.iterations).toMatchObject([
      { type: "message", output_tokens: message.usage.output_tokens, input_tokens: message.usage.input_tokens },
    ]);
  });

  test("counts tokens without touching the Messages limits", async () => {
    const { simulator, client } = await simulate({ limits: { count_tokens: { requests: 1 } } });
    const counted = await client.messages.countTokens({ model: HELLO.model, messages: HELLO.messages });
    const message = await client.messages.create(HELLO);
    expect(counted.input_tokens).toBe(message.usage.input_tokens);
    const error = await client.messages.countTokens({ model: HELLO.model, messages: HELLO.messages }).catch((e) => e);
    expect(error).toBeInstanceOf(Anthropic.RateLimitError);
    expect(Number(error.headers.get("retry-after"))).toBeGreaterThan(1);
    expect(simulator.levels()["opus-5.5"]?.requests.limit).toBe(1_000);
  });

  test("lists models page by page, and finds one by its alias", async () => {
    const { client } = await simulate();
    const ids = (await collect(client.models.list({ limit: 4 }))).map((model) => model.id);
    expect(new Set(ids).size).toBe(18);
    const page = await client.models.list({ limit: 2, before_id: ids[5] });
    expect([page.data.map((model) => model.id), page.has_more]).toEqual([ids.slice(3, 5), true]);
    expect(await client.models.retrieve("claude-haiku-4-5")).toMatchObject({
      id: "claude-haiku-4-5-20251001",
      max_input_tokens: 200_000,
      lifecycle: "active",
    });
    await expect(client.models.retrieve("claude-opus-4-20250514")).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  });

  test("sees its own error classes", async () => {
    const { simulator, client } = await simulate({ limits: { "sonnet-5.5": { requests: 1 } } });
    const create = (extra: object) => client.messages.create({ ...HELLO, ...extra }).catch((error: unknown) => error);
    expect(await create({ model: "claude-opus-9" })).toBeInstanceOf(Anthropic.NotFoundError);
    expect(await create({ max_tokens: -1 })).toBeInstanceOf(Anthropic.BadRequestError);
    const stranger = new Anthropic({ apiKey: "hr_wrong", authToken: null, baseURL: simulator.url, maxRetries: 0 });
    await expect(stranger.messages.create(HELLO)).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    await create({ model: "claude-sonnet-5-5" });
    const error = await create({ model: "claude-sonnet-5-5" });
    if (!(error instanceof Anthropic.RateLimitError)) throw new Error("not refused");
    expect(error.type).toBe("rate_limit_error");
    expect(error.requestID).toMatch(/^req_011C/);
    expect(error.apiMessage).toMatch(
      /organization's rate limit of 1 requests per minute \(org: .+, model: claude-sonnet-5-5\)/,
    );
    expect(error.headers.get("retry-after")).toBe("60");
    expect(error.headers.get("x-should-retry")).toBe("true");
    expect(error.headers.get("anthropic-ratelimit-requests-remaining")).toBe("0");
  });
});

describe("the answer", () => {
  test("to the same body under the same seed is the same, and another under another seed", async () => {
    const answers = [];
    for (const seed of [7, 7, 8]) {
      const { client } = await simulate({ seed });
      await client.messages.create({ ...HELLO, max_tokens: 400 });
      const { content, usage, stop_reason } = await client.messages.create(HELLO);
      answers.push({ content, usage, stop_reason });
    }
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]).not.toEqual(answers[2]);
  });

  test("is the same, streamed or whole", async () => {
    const { client } = await simulate();
    const whole = await client.messages.create(HELLO);
    expect((await client.messages.stream(HELLO).finalMessage()).content).toEqual(whole.content);
  });

  test("is as long as the caller states, and never longer than max_tokens", async () => {
    const { client } = await simulate();
    const create = (outputTokens: number) =>
      client.messages.create(HELLO, {
        headers: { "x-simulator-output-tokens": String(outputTokens), "x-simulator-input-tokens": "12345" },
      });
    const short = await create(321);
    expect([short.usage.input_tokens, short.usage.output_tokens, short.stop_reason]).toEqual([12_345, 321, "end_turn"]);
    const long = await create(501);
    expect([long.usage.output_tokens, long.stop_reason]).toEqual([500, "max_tokens"]);
  });

  test("ends for the reason the caller states", async () => {
    const { client } = await simulate();
    const message = await client.messages.create(
      { ...HELLO, stop_sequences: ["END"] },
      { headers: { "x-simulator-stop-reason": "stop_sequence" } },
    );
    expect([message.stop_reason, message.stop_sequence]).toEqual(["stop_sequence", "END"]);
  });

  test("is empty for max_tokens 0, which only warms the cache", async () => {
    const { client } = await simulate();
    const message = await client.messages.create({ ...HELLO, max_tokens: 0 });
    expect([message.content, message.usage.output_tokens, message.stop_reason]).toEqual([[], 0, "max_tokens"]);
  });

  test.each(Object.entries({ gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync }))(
    "comes encoded with %s, plain and streamed, when it is asked for and accepted",
    async (encoding, decode) => {
      const { simulator } = await simulate();
      const ask = async (stream: boolean, accepted: string) => {
        const response = await request(`${simulator.url}/v1/messages`, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            "x-api-key": KEY,
            "anthropic-version": "2023-06-01",
            "accept-encoding": accepted,
            "x-simulator-encoding": encoding,
          },
          body: JSON.stringify({ ...HELLO, stream }),
        });
        return { headers: response.headers, bytes: Buffer.from(await response.body.arrayBuffer()) };
      };
      for (const stream of [false, true]) {
        const encoded = await ask(stream, `deflate, ${encoding}`);
        const bare = await ask(stream, "deflate");
        expect(encoded.headers["content-encoding"]).toBe(encoding);
        expect(bare.headers["content-encoding"]).toBeUndefined();
        const withoutId = (bytes: Buffer) => bytes.toString("utf8").replace(/msg_\w+/, "");
        expect(withoutId(decode(encoded.bytes))).toBe(withoutId(bare.bytes));
      }
    },
  );

  test("is served fast where the model has a fast mode, from a pool of its own", async () => {
    const { client, post } = await simulate();
    const { data, response } = await client.messages.create({ ...HELLO, speed: "fast" }).withResponse();
    expect(data.usage.speed).toBe("fast");
    expect(response.headers.get("anthropic-fast-input-tokens-limit")).toBe("500000");
    const refused = await post({ ...HELLO, model: "claude-opus-4-8", speed: "fast" });
    expect(refused.status).toBe(400);
    const beta = { "anthropic-beta": "fast-mode-2026-02-01" };
    expect((await post({ ...HELLO, model: "claude-opus-4-8", speed: "fast" }, beta)).status).toBe(200);
  });
});
