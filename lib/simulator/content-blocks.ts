import { asArray, asBoolean, asObject, asOneOf, asString, fail, isObject, type JsonObject, onlyKeys } from "./field.ts";

export type Role = "user" | "assistant" | "system";
export type PromptMessage = { role: Role; content: string | JsonObject[] };

/** Block types whose fields are checked; others are known by name only. */
const FIELDS: Record<string, ReadonlySet<string>> = {
  text: new Set(["type", "text", "cache_control", "citations"]),
  image: new Set(["type", "source", "cache_control", "transformations"]),
  document: new Set(["type", "source", "cache_control", "citations", "context", "title"]),
  thinking: new Set(["type", "thinking", "signature"]),
  redacted_thinking: new Set(["type", "data"]),
  tool_use: new Set(["type", "id", "name", "input", "cache_control", "caller", "toolset_name"]),
  tool_result: new Set(["type", "tool_use_id", "content", "is_error", "cache_control", "toolset_name"]),
};

const OTHER_TYPES = [
  "search_result",
  "server_tool_use",
  "web_search_tool_result",
  "web_fetch_tool_result",
  "advisor_tool_result",
  "code_execution_tool_result",
  "bash_code_execution_tool_result",
  "text_editor_code_execution_tool_result",
  "tool_search_tool_result",
  "mcp_tool_use",
  "mcp_tool_result",
  "container_upload",
  "compaction",
  "tool_addition",
  "tool_removal",
  "mcp_tool_listing",
  "fallback",
  "tool_reference",
  "browser_state",
];
const TYPES = [...Object.keys(FIELDS), ...OTHER_TYPES];
const KNOWN_TYPES: ReadonlySet<string> = new Set(TYPES);

const MESSAGE_KEYS: ReadonlySet<string> = new Set(["role", "content"]);
const SYSTEM_MESSAGE_KEYS: ReadonlySet<string> = new Set(["role", "content", "clear_at", "output_config"]);
const ROLES = ["user", "assistant", "system"] as const;

/** Checks `messages`: shapes, roles, empty texts, and that tool results answer the tool uses before them. */
export function parseMessages(value: unknown): PromptMessage[] {
  const list = asArray(value, "messages");
  if (list.length === 0) fail("messages", "at least one message is required");
  const messages = list.map((entry, index) => parseMessage(entry, index, index === list.length - 1));
  if (messages.find((message) => message.role !== "system")?.role === "assistant") {
    fail("messages", 'first message must use the "user" role');
  }
  checkToolResults(messages);
  return messages;
}

/** A list of content blocks, as in `system` and `content`. */
export function parseBlocks(value: unknown[], path: string): JsonObject[] {
  return value.map((entry, index) => parseBlock(entry, `${path}.${index}`));
}

export function checkCacheControl(value: unknown, path: string): void {
  if (value === undefined || value === null) return;
  const control = asObject(value, path);
  asOneOf(control.type, `${path}.type`, ["ephemeral"]);
  if (control.ttl !== undefined) asOneOf(control.ttl, `${path}.ttl`, ["5m", "1h"]);
}

function parseMessage(value: unknown, index: number, last: boolean): PromptMessage {
  const path = `messages.${index}`;
  const message = asObject(value, path);
  if (message.role === undefined) fail(`${path}.role`, "Field required");
  const role = ROLES.find((name) => name === message.role);
  if (!role) fail("messages", `Unexpected role "${message.role}". Allowed roles are "user", "assistant" or "system".`);
  onlyKeys(message, path, role === "system" ? SYSTEM_MESSAGE_KEYS : MESSAGE_KEYS);
  const content = message.content;
  if (role === "system" && content === undefined) return { role, content: [] };
  if (content === undefined) fail(`${path}.content`, "Field required");
  if (typeof content === "string") {
    if (content === "" && !(role === "assistant" && last)) fail(path, `${role} messages must have non-empty content`);
    return { role, content };
  }
  if (!Array.isArray(content)) fail(`${path}.content`, "Input should be a valid string or a valid list");
  if (content.length === 0 && !(role === "assistant" && last))
    fail(path, `${role} messages must have non-empty content`);
  return { role, content: parseBlocks(content, `${path}.content`) };
}

function parseBlock(value: unknown, path: string): JsonObject {
  const block = asObject(value, path);
  const type = asString(block.type, `${path}.type`);
  if (!KNOWN_TYPES.has(type)) {
    const expected = TYPES.map((name) => `'${name}'`).join(", ");
    fail(path, `Input tag '${type}' found using 'type' does not match any of the expected tags: ${expected}`);
  }
  const fields = FIELDS[type];
  const inner = `${path}.${type}`;
  if (fields) onlyKeys(block, inner, fields);
  checkCacheControl(block.cache_control, `${inner}.cache_control`);
  checkBlock(type, block, inner);
  return block;
}

function checkBlock(type: string, block: JsonObject, path: string): void {
  if (type === "text") {
    if (asString(block.text, `${path}.text`) === "") {
      if (block.cache_control) fail(path, "cache_control cannot be set for empty text blocks");
      fail("messages", "text content blocks must be non-empty");
    }
  } else if (type === "image" || type === "document") {
    asString(asObject(block.source, `${path}.source`).type, `${path}.source.type`);
  } else if (type === "thinking") {
    asString(block.thinking, `${path}.thinking`);
    asString(block.signature, `${path}.signature`);
  } else if (type === "tool_use") {
    asString(block.id, `${path}.id`);
    asString(block.name, `${path}.name`);
    asObject(block.input, `${path}.input`);
  } else if (type === "tool_result") {
    asString(block.tool_use_id, `${path}.tool_use_id`);
    if (block.is_error !== undefined) asBoolean(block.is_error, `${path}.is_error`);
    const content = block.content;
    if (Array.isArray(content)) parseBlocks(content, `${path}.content`);
    else if (content !== undefined) asString(content, `${path}.content`);
  }
}

/** Consecutive turns of one role count as one; `system` messages stand between turns and do not part them. */
function checkToolResults(messages: readonly PromptMessage[]): void {
  let pending: string[] = [];
  let pendingAt = -1;
  let role: Role | null = null;
  for (const [index, message] of messages.entries()) {
    if (message.role === "system") continue;
    const results = idsOf(message, "tool_result", "tool_use_id");
    if (message.role === "user") {
      const known = new Set(pending);
      const stray = results.find((result) => !known.has(result.id));
      if (stray) {
        fail(
          `messages.${index}.content.${stray.index}`,
          `unexpected \`tool_use_id\` found in \`tool_result\` blocks: ${stray.id}. Each \`tool_result\` block must have a corresponding \`tool_use\` block in the previous message.`,
        );
      }
      const answered = new Set(results.map((result) => result.id));
      pending = pending.filter((id) => !answered.has(id));
    } else {
      if (role === "user") failUnanswered(pending, pendingAt);
      pending = [...pending, ...idsOf(message, "tool_use", "id").map((use) => use.id)];
      pendingAt = index;
    }
    role = message.role;
  }
  if (role === "user") failUnanswered(pending, pendingAt);
}

function failUnanswered(pending: readonly string[], index: number): void {
  if (pending.length === 0) return;
  fail(
    `messages.${index}`,
    `\`tool_use\` ids were found without \`tool_result\` blocks immediately after: ${pending.join(", ")}. Each \`tool_use\` block must have a corresponding \`tool_result\` block in the next message.`,
  );
}

function idsOf(message: PromptMessage, type: string, key: string): { id: string; index: number }[] {
  if (typeof message.content === "string") return [];
  return message.content.flatMap((block, index) => {
    const id = block[key];
    return isObject(block) && block.type === type && typeof id === "string" ? [{ id, index }] : [];
  });
}
