import { describe, expect, test } from "vitest";
import { HELLO, simulate } from "./simulator-client.ts";

const CHAT = "/v1/chat/completions";
/** What the openai package sends. */
const BEARER = { "x-api-key": null, "anthropic-version": null, authorization: "Bearer sk-ant-test" };
const ASK = { model: "claude-opus-5-5", messages: [{ role: "user", content: "Say hello." }] };
const TOOL = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
};

/** The data of every event of a stream. */
async function eventsOf(response: Response): Promise<string[]> {
  const text = await response.text();
  return text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.replace(/^(event: \w+\n)?data: /, ""));
}

describe("chat completions", () => {
  test("answer in OpenAI's shape, from the same pool and books", async () => {
    const { simulator, post } = await simulate();
    const response = await post({ ...ASK, max_completion_tokens: 100 }, BEARER, CHAT);
    const body = await response.json();
    expect(body).toMatchObject({
      object: "chat.completion",
      model: "claude-opus-5-5",
      choices: [{ index: 0, message: { role: "assistant", content: expect.stringMatching(/\w/) } }],
    });
    const [entry] = simulator.ledger.entries;
    expect(entry).toMatchObject({ endpoint: CHAT, billed: true, pool: "opus-5.5", serviceTier: "standard" });
    expect(body.usage).toEqual({
      prompt_tokens: entry?.usage.inputTokens,
      completion_tokens: entry?.usage.output,
      total_tokens: (entry?.usage.inputTokens ?? 0) + (entry?.usage.output ?? 0),
    });
    expect(simulator.levels()["opus-5.5"]?.requests.level).toBeLessThan(1_000);
  });

  test("tell limits by OpenAI's header names and none of Anthropic's", async () => {
    const { simulator, post } = await simulate({ limits: { "opus-5.5": { requests: 1 } } });
    const { headers } = await post(ASK, BEARER, CHAT);
    expect(headers.get("x-ratelimit-limit-requests")).toBe("1");
    expect(headers.get("x-ratelimit-remaining-requests")).toBe("0");
    expect(headers.get("x-ratelimit-limit-tokens")).toBe("2400000");
    expect(headers.get("x-ratelimit-reset-tokens")).toMatch(/^\d{4}-\d\d-\d\dT/);
    expect([...headers.keys()].filter((name) => name.startsWith("anthropic-ratelimit"))).toEqual([]);
    const refused = await post(ASK, BEARER, CHAT);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "60"]);
    expect(await refused.json()).toMatchObject({ error: { type: "rate_limit_error", param: null, code: null } });
    expect(simulator.ledger.entries[1]?.rateLimitHeaders["x-ratelimit-remaining-requests"]).toBe("0");
  });

  test("stream the text of the plain answer, then usage where it is asked for, then [DONE]", async () => {
    const { simulator, post } = await simulate();
    const plain = await (await post(ASK, BEARER, CHAT)).json();
    const stream = { ...ASK, stream: true, stream_options: { include_usage: true } };
    const events = await eventsOf(await post(stream, BEARER, CHAT));
    expect(events.at(-1)).toBe("[DONE]");
    const chunks = events.slice(0, -1).map((event) => JSON.parse(event));
    expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "" });
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    expect(text).toBe(plain.choices[0].message.content);
    expect(chunks.at(-2).choices[0].finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: plain.usage });
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    await simulator.idle();
    expect(simulator.ledger.entries.map((entry) => entry.usage)).toEqual([
      simulator.ledger.entries[0]?.usage,
      simulator.ledger.entries[0]?.usage,
    ]);
    const bare = await eventsOf(await post({ ...ASK, stream: true }, BEARER, CHAT));
    expect(bare.some((event) => event.includes('"usage"'))).toBe(false);
  });

  test("call a tool, plain and streamed, and take its result", async () => {
    const { post } = await simulate();
    const question = { role: "user", content: 'Use the tool get_weather with {"city":"Bern"}.' };
    const ask = { ...ASK, tools: [TOOL], messages: [{ role: "system", content: "Be brief." }, question] };
    const { choices } = await (await post(ask, BEARER, CHAT)).json();
    expect(choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { content: null, tool_calls: [{ type: "function", function: { name: "get_weather" } }] },
    });
    expect(JSON.parse(choices[0].message.tool_calls[0].function.arguments)).toEqual({ city: "Bern" });
    const events = await eventsOf(await post({ ...ask, stream: true }, BEARER, CHAT));
    const deltas = events.slice(0, -1).map((event) => JSON.parse(event).choices[0].delta.tool_calls?.[0]);
    const parts = deltas.flatMap((call) => (call ? [call.function.arguments] : []));
    expect(JSON.parse(parts.join(""))).toEqual({ city: "Bern" });
    const result = { role: "tool", tool_call_id: choices[0].message.tool_calls[0].id, content: "Sunny." };
    const answer = await post({ ...ask, messages: [question, choices[0].message, result] }, BEARER, CHAT);
    expect((await answer.json()).choices[0].finish_reason).toBe("stop");
  });

  test.each([
    ["no messages", { model: "claude-opus-5-5" }, {}, 400, "messages: Field required"],
    ["an unknown model", { ...ASK, model: "gpt-9" }, {}, 404, "model: gpt-9"],
    ["more than one answer", { ...ASK, n: 2 }, {}, 400, "n: Input should be 1"],
    ["a wrong key", ASK, { authorization: "Bearer hr_x" }, 401, "Invalid bearer token"],
    ["a fault", ASK, { "x-simulator-fault": "529" }, 529, "Overloaded"],
  ])("refuse %s in OpenAI's shape", async (_name, body, headers, status, message) => {
    const { post } = await simulate();
    const response = await post(body, { ...BEARER, ...headers }, CHAT);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({ error: expect.objectContaining({ message, param: null }) });
  });
});

describe("the old completions", () => {
  const COMPLETE = { model: "claude-opus-5-5", max_tokens_to_sample: 300, prompt: "\n\nHuman: Hello\n\nAssistant:" };

  test("answer with text, plain and streamed, and no usage; the ledger has it", async () => {
    const { simulator, post } = await simulate();
    const response = await post(COMPLETE, {}, "/v1/complete");
    const plain = await response.json();
    expect(plain).toMatchObject({ type: "completion", id: expect.stringMatching(/^compl_/), model: "claude-opus-5-5" });
    expect(plain.usage).toBeUndefined();
    expect(response.headers.get("anthropic-ratelimit-requests-limit")).toBe("1000");
    const events = await eventsOf(await post({ ...COMPLETE, stream: true }, {}, "/v1/complete"));
    const chunks = events.map((event) => JSON.parse(event)).filter((event) => event.type === "completion");
    expect(chunks.map((chunk) => chunk.completion).join("")).toBe(plain.completion);
    expect(chunks.at(-1).stop_reason).toBe("stop_sequence");
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({ endpoint: "/v1/complete", billed: true });
    expect(simulator.ledger.entries[0]?.usage.output).toBeGreaterThan(0);
  });

  test("are gone from version 2026-10-21, and keep to their prompt's form", async () => {
    const { post } = await simulate();
    expect((await post(COMPLETE, { "anthropic-version": "2026-10-21" }, "/v1/complete")).status).toBe(404);
    const wrong = await post({ ...COMPLETE, prompt: "Hello" }, {}, "/v1/complete");
    expect((await wrong.json()).error.message).toContain('prompt must start with "\n\nHuman:"');
    expect((await post({ ...HELLO }, {}, "/v1/complete")).status).toBe(400);
  });
});
