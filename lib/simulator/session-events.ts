import { asArray, asObject, asOneOf, asString, fail, type JsonObject, onlyKeys } from "./field.ts";

/** Anything that happened in a session, as the API writes it. */
export type SessionEvent = JsonObject & { id: string; type: string };

const FIELDS: Record<string, ReadonlySet<string>> = {
  "user.message": new Set(["type", "content"]),
  "user.interrupt": new Set(["type", "session_thread_id"]),
  "user.tool_confirmation": new Set(["type", "tool_use_id", "result", "deny_message"]),
  "user.custom_tool_result": new Set(["type", "custom_tool_use_id", "content", "is_error"]),
  "user.tool_result": new Set(["type", "tool_use_id", "content", "is_error"]),
  "user.define_outcome": new Set(["type", "description", "rubric", "max_iterations"]),
  "system.message": new Set(["type", "content"]),
};
const TYPES = Object.keys(FIELDS);

/** Checks what a caller sends into a session. Throws ApiError. */
export function parseSessionEvents(value: unknown, path: string): JsonObject[] {
  const events = asArray(value, path);
  if (events.length === 0) fail(path, "List should have at least 1 item after validation, not 0");
  return events.map((entry, index) => parseEvent(entry, `${path}.${index}`));
}

function parseEvent(value: unknown, path: string): JsonObject {
  const event = asObject(value, path);
  const type = asOneOf(event.type, `${path}.type`, TYPES);
  onlyKeys(event, path, FIELDS[type] ?? new Set());
  if (type === "user.message" || type === "system.message") asArray(event.content, `${path}.content`);
  if (type === "user.custom_tool_result") asString(event.custom_tool_use_id, `${path}.custom_tool_use_id`);
  if (type === "user.tool_result") asString(event.tool_use_id, `${path}.tool_use_id`);
  if (type === "user.define_outcome") asString(event.description, `${path}.description`);
  if (type === "user.tool_confirmation") asOneOf(event.result, `${path}.result`, ["allow", "deny"]);
  return event;
}

/**
 * What an event adds to the conversation with the model; null for one that adds nothing. A tool's result belongs to the
 * event in which the agent called it, whose id is that of the call.
 */
export function toTurn(event: JsonObject): JsonObject | null {
  if (event.type === "user.message") return { role: "user", content: event.content };
  if (event.type === "user.define_outcome") return { role: "user", content: event.description };
  if (event.type !== "user.custom_tool_result") return null;
  const result = { type: "tool_result", tool_use_id: event.custom_tool_use_id };
  const error = event.is_error === true ? { is_error: true } : {};
  return { role: "user", content: [{ ...result, content: event.content ?? [], ...error }] };
}
