import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { HELLO, simulate } from "./simulator-client.ts";

const user = (content: unknown) => [{ role: "user", content }];
const use = { type: "tool_use", id: "toolu_1", name: "a", input: {} };
const result = { type: "tool_result", tool_use_id: "toolu_1", content: "ok" };
const cached = { type: "text", text: "x", cache_control: { type: "ephemeral" } };

const refusals: [string, object, string][] = [
  ["no model", { model: undefined }, "model: Field required"],
  ["a model of the wrong type", { model: 5 }, "model: Input should be a valid string"],
  ["no max_tokens", { max_tokens: undefined }, "max_tokens: Field required"],
  ["a negative max_tokens", { max_tokens: -1 }, "max_tokens: Input should be greater than or equal to 0"],
  [
    "too large a max_tokens",
    { max_tokens: 128_001 },
    "max_tokens: 128001 > 128000, which is the maximum allowed number of output tokens for claude-opus-5-5",
  ],
  ["no messages", { messages: undefined }, "messages: Field required"],
  ["an empty list of messages", { messages: [] }, "messages: at least one message is required"],
  ["an unknown field", { extra_body: {} }, "extra_body: Extra inputs are not permitted"],
  ["a beta field without a beta", { context_management: {} }, "context_management: Extra inputs are not permitted"],
  [
    "an unknown field in a block",
    { messages: user([{ type: "text", text: "x", id: 1 }]) },
    "messages.0.content.0.text.id: Extra inputs are not permitted",
  ],
  ["an unknown role", { messages: [{ role: "tool", content: "x" }] }, 'messages: Unexpected role "tool"'],
  [
    "an assistant first",
    { messages: [{ role: "assistant", content: "x" }, ...user("y")] },
    'messages: first message must use the "user" role',
  ],
  ["an empty message", { messages: user("") }, "messages.0: user messages must have non-empty content"],
  [
    "an empty text",
    { messages: user([{ type: "text", text: "" }]) },
    "messages: text content blocks must be non-empty",
  ],
  [
    "an unknown block",
    { messages: user([{ type: "sound" }]) },
    "messages.0.content.0: Input tag 'sound' found using 'type' does not match any of the expected tags: 'text', ",
  ],
  [
    "a prefill",
    { messages: [...user("x"), { role: "assistant", content: "y" }] },
    "This model does not support assistant message prefill",
  ],
  [
    "a tool use without result",
    { messages: [...user("x"), { role: "assistant", content: [use] }, ...user("y")] },
    "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
  ],
  [
    "a result without tool use",
    { messages: user([result]) },
    "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1.",
  ],
  [
    "a tool choice without tools",
    { tool_choice: { type: "any" } },
    "tool_choice may only be specified while providing tools.",
  ],
  [
    "a bad tool name",
    { tools: [{ name: "a b", input_schema: { type: "object" } }] },
    "tools.0.custom.name: String should match pattern",
  ],
  [
    "two tools of one name",
    { tools: [1, 2].map(() => ({ name: "a", input_schema: { type: "object" } })) },
    "tools: Tool names must be unique.",
  ],
  [
    "a thinking budget above max_tokens",
    { thinking: { type: "enabled", budget_tokens: 1_024 } },
    "`max_tokens` must be greater than `thinking.budget_tokens`.",
  ],
  ["a stream that is no boolean", { stream: "yes" }, "stream: Input should be a valid boolean"],
  ["an unknown service tier", { service_tier: "priority" }, "service_tier: Input should be 'auto' or 'standard_only'"],
  [
    "an unknown effort",
    { output_config: { effort: "none" } },
    "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
  ],
  [
    "an unknown time to live",
    { messages: user([{ ...cached, cache_control: { type: "ephemeral", ttl: "2h" } }]) },
    "messages.0.content.0.text.cache_control.ttl: Input should be '5m' or '1h'",
  ],
  [
    "five breakpoints",
    { messages: user(Array(5).fill(cached)) },
    "A maximum of 4 blocks with cache_control may be provided. Found 5.",
  ],
  ["a temperature above 1", { temperature: 1.5 }, "temperature: Input should be less than or equal to 1"],
];

test.each(refusals)("a request with %s is refused in the API's words", async (_name, change, message) => {
  const { post, simulator } = await simulate();
  const response = await post({ ...HELLO, ...change });
  const body = await response.json();
  expect(response.status).toBe(400);
  expect(body).toMatchObject({
    type: "error",
    error: { type: "invalid_request_error", message: expect.stringContaining(message) },
    request_id: response.headers.get("request-id"),
  });
  expect(response.headers.get("x-should-retry")).toBe("false");
  expect(simulator.ledger.entries).toMatchObject([{ status: 400, errorType: "invalid_request_error", billed: false }]);
});

test.each([
  ["no key", { "x-api-key": null }, 401, "authentication_error", "x-api-key header is required"],
  ["a wrong key", { "x-api-key": "hr_x" }, 401, "authentication_error", "invalid x-api-key"],
  [
    "a wrong bearer",
    { "x-api-key": null, authorization: "Bearer hr_x" },
    401,
    "authentication_error",
    "Invalid bearer token",
  ],
  ["no version", { "anthropic-version": null }, 400, "invalid_request_error", "anthropic-version: header is required"],
  [
    "a wrong version",
    { "anthropic-version": "2024-01-01" },
    400,
    "invalid_request_error",
    'anthropic-version: "2024-01-01" is not a valid version',
  ],
  [
    "a wrong beta",
    { "anthropic-beta": "foo" },
    400,
    "invalid_request_error",
    "Unexpected value(s) `foo` for the `anthropic-beta` header.",
  ],
  [
    "a wrong content type",
    { "content-type": "text/plain" },
    400,
    "invalid_request_error",
    "Content-Type must be application/json",
  ],
  [
    "an unknown encoding",
    { "content-encoding": "lzma" },
    400,
    "invalid_request_error",
    'Content-Encoding "lzma" is not supported',
  ],
  [
    "a wrong encoding",
    { "content-encoding": "gzip" },
    400,
    "invalid_request_error",
    "not valid for its Content-Encoding",
  ],
  [
    "an unknown fault",
    { "x-simulator-fault": "fire" },
    400,
    "invalid_request_error",
    'x-simulator-fault: "fire" is unknown',
  ],
])("a call with %s is refused", async (_name, headers, status, type, message) => {
  const { post } = await simulate();
  const response = await post(HELLO, headers as Record<string, string | null>);
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject({ error: { type, message: expect.stringContaining(message) } });
});

test("a bearer key, an encoded body and both versions are accepted", async () => {
  const { post } = await simulate();
  const bearer = { "x-api-key": null, authorization: "Bearer sk-ant-x" };
  expect((await post(HELLO, { ...bearer, "anthropic-version": "2026-10-21" })).status).toBe(200);
  expect((await post(gzipSync(JSON.stringify(HELLO)), { "content-encoding": "gzip" })).status).toBe(200);
});

test("sampling parameters are known to version 2023-06-01 only", async () => {
  const { post } = await simulate();
  const body = { ...HELLO, temperature: 0.5 };
  expect((await post(body)).status).toBe(200);
  const refused = await post(body, { "anthropic-version": "2026-10-21" });
  expect((await refused.json()).error.message).toBe("temperature: Extra inputs are not permitted");
});

test("a body that is no JSON is refused with the place of its fault", async () => {
  const { post } = await simulate();
  const response = await post('{\n  "model": x}');
  expect((await response.json()).error.message).toBe(
    "The request body is not valid JSON: unexpected character: line 2 column 12 (char 13)",
  );
});

test("a prompt longer than the context window is a 400, a body above 32 MB a 413", async () => {
  const { post } = await simulate();
  const long = await post({ ...HELLO, model: "claude-haiku-4-5" }, { "x-simulator-input-tokens": "200001" });
  expect([long.status, (await long.json()).error.message]).toEqual([
    400,
    "prompt is too long: 200001 tokens > 200000 maximum",
  ]);
  const large = await post("x".repeat(32 * 1024 * 1024 + 1));
  expect([large.status, (await large.json()).error.type]).toEqual([413, "request_too_large"]);
});

test("what is not served is a 404 or 405 in the API's shape", async () => {
  const { simulator } = await simulate();
  const ask = async (method: string, path: string) => {
    const response = await fetch(simulator.url + path, { method, headers: { "x-api-key": "sk-ant-x" } });
    return [response.status, method === "HEAD" ? null : (await response.json()).error.type];
  };
  expect(await ask("GET", "/v1/messages")).toEqual([405, "invalid_request_error"]);
  expect(await ask("PUT", "/v1/messages/batches")).toEqual([405, "invalid_request_error"]);
  expect(await ask("POST", "/v1/embeddings")).toEqual([404, "not_found_error"]);
  expect(await ask("POST", "/v1/messages/batches/x/y/z")).toEqual([404, "not_found_error"]);
  expect(await ask("GET", "/v2")).toEqual([404, "not_found_error"]);
  expect(await ask("GET", "//")).toEqual([404, "not_found_error"]);
  expect(await ask("GET", "/v1/models/%")).toEqual([400, "invalid_request_error"]);
  expect(await ask("HEAD", "/api/hello")).toEqual([200, null]);
});
