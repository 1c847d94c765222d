import { asArray, asBoolean, asObject, asOneOf, asString, fail, isObject, type JsonObject } from "./field.ts";
import { optional } from "./json-fields.ts";

/** Where the caller sets no bound. */
const DEFAULT_MAX_TOKENS = 4_096;

export type ChatRequest = {
  /** The same as a body for `/v1/messages`. */
  body: JsonObject;
  /** A stream ends with a chunk of usage only where that is asked for. */
  includeUsage: boolean;
};

/**
 * Reads a body of OpenAI's shape. Fields that Claude has nothing for are passed over without a word, as the real
 * endpoint does. Throws ApiError.
 * https://platform.claude.com/docs/en/api/openai-sdk
 */
export function parseChatRequest(value: unknown): ChatRequest {
  const chat = asObject(value, "body");
  if (optional(chat.n, (given) => given) !== undefined && chat.n !== 1) fail("n", "Input should be 1");
  const messages = asArray(chat.messages, "messages").map((entry, index) => asObject(entry, `messages.${index}`));
  const system = messages
    .filter(isSystem)
    .map((message, index) => textOf(message.content, `messages.${index}.content`));
  const streamOptions = optional(chat.stream_options, (given) => asObject(given, "stream_options"));
  const temperature = optional(chat.temperature, (given) => (typeof given === "number" ? Math.min(1, given) : given));
  const body: JsonObject = {
    model: chat.model,
    max_tokens: chat.max_completion_tokens ?? chat.max_tokens ?? DEFAULT_MAX_TOKENS,
    messages: messages.filter((message) => !isSystem(message)).map(toMessage),
    stream: optional(chat.stream, (given) => asBoolean(given, "stream")) ?? false,
  };
  if (system.length > 0) body.system = system.join("\n");
  if (temperature !== undefined) body.temperature = temperature;
  if (typeof chat.top_p === "number") body.top_p = chat.top_p;
  const stop = optional(chat.stop, (given) => (typeof given === "string" ? [given] : asArray(given, "stop")));
  if (stop) body.stop_sequences = stop;
  const tools = optional(chat.tools, (given) => asArray(given, "tools").map(toTool));
  if (tools && tools.length > 0) body.tools = tools;
  const choice = optional(chat.tool_choice, toToolChoice);
  if (choice && tools && tools.length > 0) body.tool_choice = choice;
  return { body, includeUsage: streamOptions?.include_usage === true };
}

function isSystem(message: JsonObject): boolean {
  return message.role === "system" || message.role === "developer";
}

function toMessage(message: JsonObject, index: number): JsonObject {
  const path = `messages.${index}`;
  const role = asOneOf(message.role, `${path}.role`, ["user", "assistant", "tool"]);
  if (role === "tool") {
    const result = { tool_use_id: asString(message.tool_call_id, `${path}.tool_call_id`) };
    const content = textOf(message.content, `${path}.content`);
    return { role: "user", content: [{ type: "tool_result", ...result, content }] };
  }
  if (role === "user") return { role, content: toBlocks(message.content, `${path}.content`) };
  const text = message.content === undefined || message.content === null ? "" : textOf(message.content, path);
  const calls = optional(message.tool_calls, (given) => asArray(given, `${path}.tool_calls`)) ?? [];
  if (calls.length === 0) return { role, content: text };
  const uses = calls.map((call, at) =>
    toToolUse(asObject(call, `${path}.tool_calls.${at}`), `${path}.tool_calls.${at}`),
  );
  return { role, content: [...(text === "" ? [] : [{ type: "text", text }]), ...uses] };
}

function toBlocks(content: unknown, path: string): string | JsonObject[] {
  if (typeof content === "string") return content;
  return asArray(content, path).map((entry, index) => {
    const part = asObject(entry, `${path}.${index}`);
    const type = asOneOf(part.type, `${path}.${index}.type`, ["text", "image_url"]);
    if (type === "text") return { type, text: asString(part.text, `${path}.${index}.text`) };
    const url = asString(asObject(part.image_url, `${path}.${index}.image_url`).url, `${path}.${index}.image_url.url`);
    const data = /^data:([^;]+);base64,(.*)$/s.exec(url);
    if (!data) return { type: "image", source: { type: "url", url } };
    return { type: "image", source: { type: "base64", media_type: data[1], data: data[2] } };
  });
}

function textOf(content: unknown, path: string): string {
  if (typeof content === "string") return content;
  return asArray(content, path)
    .map((part) => (isObject(part) && typeof part.text === "string" ? part.text : ""))
    .join("");
}

function toToolUse(call: JsonObject, path: string): JsonObject {
  const made = asObject(call.function, `${path}.function`);
  const text = asString(made.arguments, `${path}.function.arguments`);
  let input: unknown;
  try {
    input = JSON.parse(text === "" ? "{}" : text);
  } catch {
    fail(`${path}.function.arguments`, "Input should be valid JSON");
  }
  const name = asString(made.name, `${path}.function.name`);
  return { type: "tool_use", id: asString(call.id, `${path}.id`), name, input };
}

function toTool(value: unknown, index: number): JsonObject {
  const made = asObject(asObject(value, `tools.${index}`).function, `tools.${index}.function`);
  const schema = isObject(made.parameters) ? made.parameters : { type: "object", properties: {} };
  const description = typeof made.description === "string" ? { description: made.description } : {};
  return { name: asString(made.name, `tools.${index}.function.name`), ...description, input_schema: schema };
}

function toToolChoice(value: unknown): JsonObject {
  if (value === "required") return { type: "any" };
  if (value === "auto" || value === "none") return { type: value };
  const choice = asObject(asObject(value, "tool_choice").function, "tool_choice.function");
  return { type: "tool", name: asString(choice.name, "tool_choice.function.name") };
}
