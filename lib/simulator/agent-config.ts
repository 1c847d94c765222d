import { asArray, asObject, asOneOf, asString, fail, isObject, type JsonObject } from "./field.ts";
import { optional } from "./json-fields.ts";
import { findModel } from "./models.ts";

/** What an agent is made of, and what a session may override of it. */
export type AgentConfig = {
  model: JsonObject;
  system: string | null;
  tools: JsonObject[];
  mcp_servers: JsonObject[];
  skills: JsonObject[];
};

const TOOLSET_TOOLS = ["bash", "edit", "read", "write", "glob", "grep", "web_fetch", "web_search"] as const;
const ALLOW = { type: "always_allow" };

/** Reads the fields of an agent that are there. Throws ApiError. */
export function parseAgentConfig(body: JsonObject): Partial<AgentConfig> {
  const config: Partial<AgentConfig> = {};
  if (body.model !== undefined) config.model = parseModel(body.model);
  if (body.system !== undefined) config.system = optional(body.system, (value) => asString(value, "system")) ?? null;
  if (body.tools !== undefined) config.tools = list(body.tools, "tools").map(parseTool);
  if (body.mcp_servers !== undefined) config.mcp_servers = list(body.mcp_servers, "mcp_servers").map(parseServer);
  if (body.skills !== undefined) config.skills = list(body.skills, "skills").map(parseSkill);
  return config;
}

function list(value: unknown, path: string): unknown[] {
  return optional(value, (given) => asArray(given, path)) ?? [];
}

/** A name, or an object with settings of its own. */
function parseModel(value: unknown): JsonObject {
  const given = typeof value === "string" ? { id: value } : asObject(value, "model");
  const name = asString(given.id, "model.id");
  if (!findModel(name)) fail("model", `unknown model: ${name}`);
  const { effort, inference_geo: geo } = given;
  return {
    id: name,
    speed: optional(given.speed, (speed) => asOneOf(speed, "model.speed", ["standard", "fast"])) ?? "standard",
    ...(effort ? { effort: typeof effort === "string" ? { type: effort } : effort } : {}),
    ...(geo ? { inference_geo: geo } : {}),
  };
}

function parseTool(value: unknown, index: number): JsonObject {
  const path = `tools.${index}`;
  const tool = asObject(value, path);
  const type = asOneOf(tool.type, `${path}.type`, ["agent_toolset_20260401", "mcp_toolset", "custom"]);
  if (type === "custom") {
    const schema = asObject(tool.input_schema, `${path}.input_schema`);
    const name = asString(tool.name, `${path}.name`);
    return { type, name, description: asString(tool.description, `${path}.description`), input_schema: schema };
  }
  const defaults = isObject(tool.default_config) ? tool.default_config : {};
  const default_config = { enabled: defaults.enabled ?? true, permission_policy: defaults.permission_policy ?? ALLOW };
  const configs = list(tool.configs, `${path}.configs`).map((entry, at) => {
    const given = asObject(entry, `${path}.configs.${at}`);
    const where = `${path}.configs.${at}.name`;
    const name = type === "mcp_toolset" ? asString(given.name, where) : asOneOf(given.name, where, TOOLSET_TOOLS);
    const { enabled, permission_policy } = default_config;
    const settings = {
      enabled: given.enabled ?? enabled,
      permission_policy: given.permission_policy ?? permission_policy,
    };
    return type === "mcp_toolset" ? { name, ...settings } : { ...given, type: name, name, ...settings };
  });
  const server =
    type === "mcp_toolset" ? { mcp_server_name: asString(tool.mcp_server_name, `${path}.mcp_server_name`) } : {};
  return { type, ...server, configs, default_config };
}

function parseServer(value: unknown, index: number): JsonObject {
  const path = `mcp_servers.${index}`;
  const server = asObject(value, path);
  const type = asOneOf(server.type, `${path}.type`, ["url"]);
  return { type, name: asString(server.name, `${path}.name`), url: asString(server.url, `${path}.url`) };
}

function parseSkill(value: unknown, index: number): JsonObject {
  const path = `skills.${index}`;
  const skill = asObject(value, path);
  const type = asOneOf(skill.type, `${path}.type`, ["anthropic", "custom"]);
  const version = optional(skill.version, (given) => asString(given, `${path}.version`)) ?? "latest";
  return { type, skill_id: asString(skill.skill_id, `${path}.skill_id`), version };
}
