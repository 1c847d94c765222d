import { invalidRequest } from "./api-error.ts";
import { checkCacheControl } from "./content-blocks.ts";
import { asArray, asObject, asOneOf, asString, fail, type JsonObject } from "./field.ts";
import { optional } from "./json-fields.ts";

/** `auto` unless the caller forces or forbids tools. */
export type ToolChoice = { type: "auto" | "any" | "none" } | { type: "tool"; name: string };

const TOOL_NAME = /^[a-zA-Z0-9_-]{1,128}$/;

export function parseTools(value: unknown): JsonObject[] {
  const tools = (optional(value, (given) => asArray(given, "tools")) ?? []).map((entry, index) => {
    const path = `tools.${index}`;
    const tool = asObject(entry, path);
    checkCacheControl(tool.cache_control, `${path}.cache_control`);
    const type = tool.type ?? "custom";
    if (type === "custom") {
      const toolName = asString(tool.name, `${path}.custom.name`);
      if (!TOOL_NAME.test(toolName)) {
        fail(`${path}.custom.name`, `String should match pattern '${TOOL_NAME.source}'`);
      }
      const schema = asObject(tool.input_schema, `${path}.custom.input_schema`);
      asOneOf(schema.type, `${path}.custom.input_schema.type`, ["object"]);
    } else {
      asString(type, `${path}.type`);
    }
    return tool;
  });
  const names = tools.map((tool) => tool.name).filter((toolName) => toolName !== undefined);
  if (new Set(names).size < names.length) fail("tools", "Tool names must be unique.");
  return tools;
}

export function parseToolChoice(value: unknown, tools: readonly JsonObject[]): ToolChoice {
  const choice = optional(value, (given) => asObject(given, "tool_choice"));
  if (!choice) return { type: "auto" };
  const type = asOneOf(choice.type, "tool_choice.type", ["auto", "any", "tool", "none"]);
  if (type !== "none" && tools.length === 0) {
    throw invalidRequest("tool_choice may only be specified while providing tools.");
  }
  if (type !== "tool") return { type };
  const name = asString(choice.name, "tool_choice.tool.name");
  if (!tools.some((tool) => tool.name === name)) throw invalidRequest(`Tool '${name}' not found in provided tools`);
  return { type, name };
}
