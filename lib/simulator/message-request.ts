import type { Lane } from "../anthropic/pools.ts";
import { ApiError, invalidRequest, notFound } from "./api-error.ts";
import type { ApiVersion } from "./api-version.ts";
import { checkCacheControl, type PromptMessage, parseBlocks, parseMessages } from "./content-blocks.ts";
import {
  asArray,
  asBoolean,
  asInteger,
  asNumber,
  asObject,
  asOneOf,
  asString,
  fail,
  isObject,
  type JsonObject,
  onlyKeys,
} from "./field.ts";
import { optional } from "./json-fields.ts";
import { findModel, type SimulatedModel } from "./models.ts";
import { parseToolChoice, parseTools, type ToolChoice } from "./tool-request.ts";

/** A request to `/v1/messages` or `/v1/messages/count_tokens` that the API would accept. */
export type MessageRequest = {
  model: SimulatedModel;
  maxTokens: number;
  messages: PromptMessage[];
  system: JsonObject[];
  tools: JsonObject[];
  toolChoice: ToolChoice;
  stream: boolean;
  lane: Lane;
  /** What `usage.speed` says. */
  speed: "standard" | "fast";
  inferenceGeo: string;
  thinking: boolean;
  thinkingOmitted: boolean;
  /** The top-level `cache_control`: a breakpoint at the last block, wherever that is. */
  cacheControl: JsonObject | null;
  stopSequences: string[];
  /** JSON schema of the answer, where structured output is asked for. */
  outputSchema: JsonObject | null;
  /** Asked to edit its context: the answer then says which edits were applied. */
  contextEdits: boolean;
  /** With the betas of compaction, advisors and fallbacks every answer lists its iterations. */
  iterations: boolean;
  /** Prompt tokens from which the conversation is compacted first; null where nobody asked for it. */
  compactFrom: number | null;
  /** Who answers when the model refuses, in order. */
  fallbacks: SimulatedModel[];
};

const CREATE_KEYS = new Set([
  ...["model", "max_tokens", "messages", "system", "stream", "tools", "tool_choice", "thinking", "metadata"],
  ...["stop_sequences", "service_tier", "speed", "inference_geo", "cache_control", "container", "diagnostics"],
  ...["output_config", "user_profile_id", "workspace_id"],
]);
const COUNT_KEYS = new Set([
  ...["model", "messages", "system", "tools", "tool_choice", "thinking", "cache_control", "output_config", "speed"],
  ...["user_profile_id", "workspace_id"],
]);
/** Unknown until a beta is asked for. Which beta opens which field is not published whole, so any opens all. */
const BETA_KEYS = [
  ...["billing_policy", "compaction", "context_management", "fallback_credit_token", "fallbacks", "mcp_servers"],
  ...["output_format", "thread"],
];
const ITERATION_BETAS = /^(compact|advisor-tool|server-side-fallback)-/;
/** Tokens at which compaction sets in unless the caller says otherwise. */
const COMPACT_FROM = 150_000;
/** Where `fallbacks: "default"` leads. */
const DEFAULT_FALLBACK = "claude-opus-4-8";
const SAMPLING_KEYS = ["temperature", "top_p", "top_k"];

const EFFORTS = ["low", "medium", "high", "xhigh", "max"] as const;

export type RequestContext = { endpoint: "messages" | "count_tokens"; version: ApiVersion; betas: readonly string[] };

/** Parses a JSON body as strictly as the API, in its words. Throws ApiError. */
export function parseMessageRequest(body: unknown, context: RequestContext): MessageRequest {
  if (!isObject(body)) throw invalidRequest("Input should be a valid dictionary or object to extract fields from");
  onlyKeys(body, "", knownKeys(context));
  const name = asString(body.model, "model");
  if (name === "") fail("model", "String should have at least 1 character");
  const counting = context.endpoint === "count_tokens";
  const maxTokens = counting ? 0 : asInteger(body.max_tokens, "max_tokens", 0);
  const messages = parseMessages(body.messages);
  const tools = parseTools(body.tools);
  const request = {
    messages,
    tools,
    maxTokens,
    system: parseSystem(body.system),
    toolChoice: parseToolChoice(body.tool_choice, tools),
    stream: body.stream === undefined ? false : asBoolean(body.stream, "stream"),
    inferenceGeo: parseGeo(body.inference_geo),
    ...parseThinking(body.thinking, maxTokens, counting),
    cacheControl: parseTopCacheControl(body.cache_control),
    stopSequences:
      optional(body.stop_sequences, (value) =>
        asArray(value, "stop_sequences").map((entry, index) => asString(entry, `stop_sequences.${index}`)),
      ) ?? [],
    outputSchema: parseOutputSchema(body),
    contextEdits: isObject(body.context_management),
    iterations: context.betas.some((beta) => ITERATION_BETAS.test(beta)),
    compactFrom: parseCompaction(body),
    fallbacks: parseFallbacks(body.fallbacks),
  };
  checkRest(body);
  const model = findModel(name);
  if (!model) throw notFound(`model: ${name}`);
  if (maxTokens > model.maxOutputTokens) {
    fail(
      "max_tokens",
      `${maxTokens} > ${model.maxOutputTokens}, which is the maximum allowed number of output tokens for ${name}`,
    );
  }
  const lastTurn = messages.findLast((message) => message.role !== "system");
  if (lastTurn?.role === "assistant" && !model.prefill && !continuesServerTool(lastTurn) && !counting) {
    throw invalidRequest(
      "This model does not support assistant message prefill. The conversation must end with a user message.",
    );
  }
  const speed = parseSpeed(body.speed, model, context.betas);
  const tier = optional(body.service_tier, (value) => asOneOf(value, "service_tier", ["auto", "standard_only"]));
  const lane = speed === "fast" ? "fast" : model.priority && tier !== "standard_only" ? "priority" : "standard";
  return { ...request, model, speed, lane };
}

const keySets = new Map<string, ReadonlySet<string>>();

function knownKeys(context: RequestContext): ReadonlySet<string> {
  const beta = context.betas.length > 0;
  const sampling = context.version === "2023-06-01" && context.endpoint === "messages";
  const id = `${context.endpoint} ${beta} ${sampling}`;
  let keys = keySets.get(id);
  if (!keys) {
    const base = context.endpoint === "messages" ? CREATE_KEYS : COUNT_KEYS;
    keys = new Set([...base, ...(beta ? BETA_KEYS : []), ...(sampling ? SAMPLING_KEYS : [])]);
    keySets.set(id, keys);
  }
  return keys;
}

function parseSystem(value: unknown): JsonObject[] {
  if (value === undefined || value === "") return [];
  if (typeof value === "string") return [{ type: "text", text: value }];
  if (!Array.isArray(value)) return fail("system", "Input should be a valid string or a valid list");
  for (const [index, block] of value.entries()) {
    if (isObject(block) && block.type !== "text") fail(`system.${index}.type`, "Input should be 'text'");
  }
  return parseBlocks(value, "system");
}

function parseGeo(value: unknown): string {
  return optional(value, (given) => asOneOf(given, "inference_geo", ["us", "global"])) ?? "global";
}

function parseThinking(
  value: unknown,
  maxTokens: number,
  counting: boolean,
): { thinking: boolean; thinkingOmitted: boolean } {
  const config = optional(value, (given) => asObject(given, "thinking"));
  if (!config) return { thinking: false, thinkingOmitted: false };
  const type = asOneOf(config.type, "thinking.type", ["enabled", "disabled", "adaptive", "between_tools"]);
  if (type === "enabled") {
    const budget = asInteger(config.budget_tokens, "thinking.enabled.budget_tokens", 1_024);
    if (!counting && maxTokens <= budget) {
      throw invalidRequest("`max_tokens` must be greater than `thinking.budget_tokens`.");
    }
  }
  return { thinking: type === "enabled" || type === "adaptive", thinkingOmitted: config.display === "omitted" };
}

function parseTopCacheControl(value: unknown): JsonObject | null {
  checkCacheControl(value, "cache_control");
  return isObject(value) ? value : null;
}

function parseOutputSchema(body: JsonObject): JsonObject | null {
  const config = optional(body.output_config, (value) => asObject(value, "output_config"));
  if (config) {
    optional(config.effort, (value) => asOneOf(value, "output_config.effort", EFFORTS));
  }
  const format = optional(config?.format ?? body.output_format, (value) => asObject(value, "output_config.format"));
  if (!format) return null;
  asOneOf(format.type, "output_config.format.type", ["json_schema"]);
  return asObject(format.schema, "output_config.format.schema");
}

function parseCompaction(body: JsonObject): number | null {
  const management = optional(body.context_management, (value) => asObject(value, "context_management"));
  const edits = optional(management?.edits, (value) => asArray(value, "context_management.edits")) ?? [];
  const index = edits.findIndex((edit) => isObject(edit) && edit.type === "compact_20260112");
  const edit = edits[index];
  if (isObject(edit)) {
    const path = `context_management.edits.${index}.compact_20260112.trigger`;
    const trigger = optional(edit.trigger, (value) => asObject(value, path));
    if (trigger) asOneOf(trigger.type, `${path}.type`, ["input_tokens"]);
    return trigger ? asInteger(trigger.value, `${path}.value`, 50_000) : COMPACT_FROM;
  }
  const config = optional(body.compaction, (value) => asObject(value, "compaction"));
  if (config) asOneOf(config.type, "compaction.type", ["summarize"]);
  return config ? COMPACT_FROM : null;
}

function parseFallbacks(value: unknown): SimulatedModel[] {
  if (value === undefined || value === null) return [];
  const entries = value === "default" ? [{ model: DEFAULT_FALLBACK }] : asArray(value, "fallbacks");
  return entries.map((entry, index) => {
    const name = asString(asObject(entry, `fallbacks.${index}`).model, `fallbacks.${index}.model`);
    return findModel(name) ?? fail(`fallbacks.${index}.model`, `model: ${name}`);
  });
}

/** Fields that change nothing in the answer, but must be right. */
function checkRest(body: JsonObject): void {
  const metadata = optional(body.metadata, (value) => asObject(value, "metadata"));
  if (metadata) {
    onlyKeys(metadata, "metadata", new Set(["user_id"]));
    const userId = optional(metadata.user_id, (value) => asString(value, "metadata.user_id"));
    if (userId !== undefined && userId.length > 512) {
      fail("metadata.user_id", "String should have at most 512 characters");
    }
  }
  optional(body.temperature, (value) => asNumber(value, "temperature", 0, 1));
  optional(body.top_p, (value) => asNumber(value, "top_p", 0, 1));
  optional(body.top_k, (value) => asInteger(value, "top_k", 0));
  optional(body.mcp_servers, (value) => asArray(value, "mcp_servers"));
  optional(body.context_management, (value) => asObject(value, "context_management"));
}

function parseSpeed(value: unknown, model: SimulatedModel, betas: readonly string[]): "standard" | "fast" {
  const speed = optional(value, (given) => asOneOf(given, "speed", ["standard", "fast"])) ?? "standard";
  if (speed === "standard" || model.fast === "ignored") return "standard";
  const open = model.fast === "yes" || (model.fast === "beta" && betas.includes("fast-mode-2026-02-01"));
  if (!open) {
    throw new ApiError(400, "invalid_request_error", `speed: fast mode is not supported for ${model.id}`);
  }
  return "fast";
}

/** After `pause_turn` the assistant's turn is sent back as it is, for the model to go on. */
function continuesServerTool(message: PromptMessage): boolean {
  if (typeof message.content === "string") return false;
  const type = message.content.at(-1)?.type;
  return typeof type === "string" && /^(server_tool_use|mcp_tool_use|.+_tool_result)$/.test(type);
}
