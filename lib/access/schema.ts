import { z } from "zod";
import { poolOf } from "../anthropic/pools.ts";
import { NANO_USD_PER_USD } from "../kit/money.ts";
import { TrafficClass, TrafficMode } from "../traffic/schema.ts";

const Name = z
  .string()
  .trim()
  .regex(/^[\w.:@/ -]{1,100}$/, "1 to 100 letters, digits, spaces or . : @ / _ -");

const perMinute = z.int().min(1, "must be at least 1; null means no cap").max(1_000_000_000).nullable();
const budget = z
  .int()
  .min(1, "must be at least 1 nano-dollar; null means no budget")
  .max(1_000_000 * NANO_USD_PER_USD, "must be at most 1,000,000 dollars")
  .nullable();
/** The longest time for which an answer may be kept. */
export const MAX_RESPONSE_CACHE_S = 86_400;
/** No call waits longer. */
const MAX_WAIT_S = 540;
const modelPattern = z.string().regex(/^[\w.:@/-]{1,199}\*?$|^\*$/, "a model's id, or the beginning of one and a *");

/** What an agent may do and use. Every field has a default: an agent without settings is bound by nothing. */
export const AgentSettings = z.object({
  /** Off: its calls are refused, its keys stay. */
  enabled: z.boolean(),
  /** The highest class that its calls may ask for. */
  maxClass: TrafficClass,
  /** The class of calls that ask for none. */
  defaultClass: TrafficClass,
  /** Ids, or beginnings of ids that end in `*`. Null: every model. */
  allowedModels: z.array(modelPattern).min(1, "name at least one model; null allows all").max(100).nullable(),
  requestsPerMinute: perMinute,
  /** Counted as the upstream counts: without cache reads, except of Haiku 3.5. */
  inputTokensPerMinute: perMinute,
  outputTokensPerMinute: perMinute,
  /** Of a UTC day. */
  dailyBudgetNanoUsd: budget,
  /** Of a UTC calendar month. */
  monthlyBudgetNanoUsd: budget,
  /** For how many seconds answers to calls that can be answered from memory are kept. Null: they are not. */
  responseCacheS: z
    .int()
    .min(1, "must be at least 1 second; null means no cache")
    .max(MAX_RESPONSE_CACHE_S, `must be at most ${MAX_RESPONSE_CACHE_S} seconds, which is a day`)
    .nullable(),
  /** The longest in seconds that its calls wait for room, whatever they ask for. Null: as long as their class may. */
  maxWaitS: z
    .number()
    .positive("must be above 0 seconds; null means as long as the class may")
    .max(MAX_WAIT_S, `must be at most ${MAX_WAIT_S} seconds: clients give up after ten minutes`)
    .nullable(),
});
export type AgentSettings = z.infer<typeof AgentSettings>;

export const DEFAULT_AGENT_SETTINGS: AgentSettings = {
  enabled: true,
  maxClass: "critical",
  defaultClass: "normal",
  allowedModels: null,
  requestsPerMinute: null,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  dailyBudgetNanoUsd: null,
  monthlyBudgetNanoUsd: null,
  responseCacheS: null,
  maxWaitS: null,
};

const AgentSettingsChange = AgentSettings.partial();

/** What `POST /api/agents` takes: settings lie beside the name, each left out takes its default. */
export const AgentInput = z.strictObject({ name: Name, ...AgentSettingsChange.shape });
export type AgentInput = z.infer<typeof AgentInput>;

/** What `PATCH /api/agents/{id}` takes: what is left out stays as it is. */
export const AgentChange = AgentInput.partial();
export type AgentChange = z.infer<typeof AgentChange>;

export const MAX_OVERLAP_HOURS = 24 * 30;
export const DEFAULT_OVERLAP_HOURS = 24;

/** What `POST /api/agents/{id}/rotate` takes. With 0 the old key ends at once. */
export const RotateInput = z.strictObject({
  overlapHours: z
    .number()
    .min(0, "must be 0 or more hours")
    .max(MAX_OVERLAP_HOURS, `must be at most ${MAX_OVERLAP_HOURS} hours`)
    .default(DEFAULT_OVERLAP_HOURS),
});
export type RotateInput = z.infer<typeof RotateInput>;

/** An agent key as it is shown: never the key, only how it begins. */
export const AgentKey = z.object({
  id: z.uuid(),
  prefix: z.string(),
  createdAt: z.string(),
  /** When it ends because a newer one took its place; null for the newest. */
  expiresAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
});
export type AgentKey = z.infer<typeof AgentKey>;

/** An agent: `id` is what calls carry as `agentKeyId`; it outlives names and keys. */
export const Agent = z.object({
  id: z.uuid(),
  name: z.string(),
  settings: z.preprocess(
    (stored) => ({ ...DEFAULT_AGENT_SETTINGS, ...(typeof stored === "object" ? stored : {}) }),
    AgentSettings,
  ),
  createdAt: z.string(),
  revokedAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  /** One, or two while a rotation overlaps, newest first; none once revoked. */
  keys: z.array(AgentKey),
});
export type Agent = z.infer<typeof Agent>;

/** What an agent uses now, as the gateway that answers knows it. Money in nano-dollars, tokens of the last 60 s. */
export const AgentUse = z.object({
  spentTodayNanoUsd: z.int(),
  spentThisMonthNanoUsd: z.int(),
  /** Held for calls under way, at the most that they can cost; part of neither of the above. */
  reservedNanoUsd: z.int(),
  requests: z.int(),
  inputTokens: z.int(),
  outputTokens: z.int(),
  openCalls: z.int(),
});
export type AgentUse = z.infer<typeof AgentUse>;

/** api: messages go out with it. admin: limits and costs are read with it (`sk-ant-admin…`). */
export const UpstreamKind = z.enum(["api", "admin"]);
export type UpstreamKind = z.infer<typeof UpstreamKind>;

/** The upstream that the environment gives (ANTHROPIC_API_KEY, HEADROOM_UPSTREAM_URL); it cannot be changed here. */
export const DEFAULT_UPSTREAM = "default";

const UpstreamName = Name.refine((name) => name !== DEFAULT_UPSTREAM, `"${DEFAULT_UPSTREAM}" is the environment's own`);

const BaseUrl = z
  .url({ protocol: /^https?$/, error: "must be an http:// or https:// address" })
  .transform((text) => text.replace(/\/+$/, ""))
  .refine((text) => {
    const { username, password, search, hash } = new URL(text);
    return username === "" && password === "" && search === "" && hash === "";
  }, "must be an address without user, password, query or fragment")
  .refine(
    (text) => text.startsWith("https:") || /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(new URL(text).hostname),
    "must be https:// unless it is on this machine: the key would go in the clear",
  );

const ApiKey = z
  .string()
  .trim()
  .regex(/^[\x21-\x7e]{8,1000}$/, "8 to 1,000 characters without spaces");

/** What `POST /api/upstreams` takes. The key is sealed and never shown again. */
export const UpstreamInput = z.strictObject({
  name: UpstreamName,
  kind: UpstreamKind.default("api"),
  baseUrl: BaseUrl.default("https://api.anthropic.com"),
  apiKey: ApiKey,
  enabled: z.boolean().default(true),
});
export type UpstreamInput = z.infer<typeof UpstreamInput>;

/** What `PATCH /api/upstreams/{id}` takes: what is left out stays as it is. */
export const UpstreamChange = z.strictObject({
  name: UpstreamName.optional(),
  baseUrl: BaseUrl.optional(),
  apiKey: ApiKey.optional(),
  enabled: z.boolean().optional(),
});
export type UpstreamChange = z.infer<typeof UpstreamChange>;

export const Upstream = z.object({
  /** `default` for the environment's own, else a UUID. */
  id: z.string(),
  name: z.string(),
  kind: UpstreamKind,
  baseUrl: z.string(),
  /** How the key begins and ends, such as `sk-ant-…x4Qb`; null where the environment gives none. */
  maskedKey: z.string().nullable(),
  enabled: z.boolean(),
  /** Given by the environment: to be changed there. */
  builtIn: z.boolean(),
  /** Why its key cannot be used; null when it can. */
  fault: z.string().nullable(),
  createdAt: z.string().nullable(),
  updatedAt: z.string().nullable(),
});
export type Upstream = z.infer<typeof Upstream>;

/** How a real request with an upstream's key went. */
export const UpstreamTest = z.object({
  ok: z.boolean(),
  /** Null when no answer came. */
  status: z.int().nullable(),
  latencyMs: z.number(),
  /** One sentence: what was found, or what is wrong and what to do. */
  message: z.string(),
});
export type UpstreamTest = z.infer<typeof UpstreamTest>;

/** A model that answers calls for another one that has no room for them, or no servers. */
const ModelFallback = z.strictObject({
  /** An id, or the beginning of ids and a `*`. The first rule that fits a call's model counts. */
  model: modelPattern,
  to: z.string().regex(/^[\w.:@/-]{1,199}$/, "a model's id"),
  /** Seconds that a call waits for its own model; null: as long as it would without the rule. */
  waitS: z
    .number()
    .min(1, "must be at least 1 second")
    .max(540, "must be at most 540 seconds")
    .nullable()
    .default(null),
});

/** What operators set for the whole gateway. */
export const GatewaySettings = z.object({
  /** Whether clients see the upstream's `anthropic-ratelimit-*` headers, which speak for the whole organisation. */
  rateLimitHeaders: z.enum(["pass", "strip"]),
  fallbacks: z.array(ModelFallback).max(100),
  /** How traffic control treats calls. */
  trafficMode: TrafficMode,
  /** Pools that are treated otherwise, by their ids. */
  poolModes: z.record(z.string(), TrafficMode),
  /** Whether a stream whose call waits for long is begun and kept alive with pings. */
  pingWhileWaiting: z.boolean(),
});
export type GatewaySettings = z.infer<typeof GatewaySettings>;

export const DEFAULT_GATEWAY_SETTINGS: GatewaySettings = {
  rateLimitHeaders: "pass",
  fallbacks: [],
  trafficMode: "enforce",
  poolModes: {},
  pingWhileWaiting: false,
};

const MAX_POOL_MODES = 200;

/** Any text may be a pool's id, for models nobody has heard of are pools of their own; but a known model is none. */
const PoolModes = GatewaySettings.shape.poolModes.superRefine((modes, ctx) => {
  const ids = Object.keys(modes);
  if (ids.length > MAX_POOL_MODES) ctx.addIssue(`names more than ${MAX_POOL_MODES} pools`);
  for (const id of ids) {
    const pool = poolOf(id).id;
    if (pool !== id) ctx.addIssue(`${id} is a model of the pool ${pool}: name the pool`);
    if (id === "" || id.length > 200) ctx.addIssue("a pool's id has 1 to 200 characters");
  }
});

/** What `PATCH /api/settings` takes: what is left out stays as it is, `poolModes` is replaced whole. */
export const GatewaySettingsChange = GatewaySettings.extend({ poolModes: PoolModes }).partial().strict();
export type GatewaySettingsChange = z.infer<typeof GatewaySettingsChange>;
