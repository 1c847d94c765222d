/** The models that the simulator serves, as `GET /v1/models` tells of them. Compiled 2026-11-22. */
export type SimulatedModel = {
  id: string;
  aliases: readonly string[];
  displayName: string;
  line: "opus" | "sonnet" | "haiku" | "fable" | "mythos";
  createdAt: string;
  lifecycle: "active" | "deprecated";
  deprecatedAt: string | null;
  retiresAt: string | null;
  contextTokens: number;
  maxOutputTokens: number;
  /** Shorter prefixes are not cached, without a word. */
  minCacheTokens: number;
  /** `speed: "fast"`: served, served with the beta header, taken for standard without a word, or refused. */
  fast: "yes" | "beta" | "ignored" | "no";
  /** Whether a conversation may end with an assistant turn for the model to go on from. */
  prefill: boolean;
  /** Whether a Priority Tier commitment can cover it. */
  priority: boolean;
};

type Extra = Partial<Omit<SimulatedModel, "id" | "displayName" | "line" | "createdAt">>;

const SMALL: Extra = { contextTokens: 200_000, maxOutputTokens: 64_000, prefill: true, minCacheTokens: 4_096 };

/** Newest first, the order in which the API lists them. */
export const SIMULATED_MODELS: readonly SimulatedModel[] = [
  model("claude-fable-5-2", "Claude Fable 5.2", "fable", "2026-11-09", { fast: "yes" }),
  model("claude-mythos-5-2", "Claude Mythos 5.2", "mythos", "2026-11-09", { fast: "yes" }),
  model("claude-haiku-5-5", "Claude Haiku 5.5", "haiku", "2026-10-07"),
  model("claude-sonnet-5-5", "Claude Sonnet 5.5", "sonnet", "2026-09-28"),
  model("claude-opus-5-5", "Claude Opus 5.5", "opus", "2026-09-15", { fast: "yes" }),
  model("claude-fable-5-1", "Claude Fable 5.1", "fable", "2026-09-01"),
  model("claude-mythos-5-1", "Claude Mythos 5.1", "mythos", "2026-09-01"),
  model("claude-opus-5", "Claude Opus 5", "opus", "2026-07-24", { fast: "beta" }),
  model("claude-sonnet-5", "Claude Sonnet 5", "sonnet", "2026-06-30", { minCacheTokens: 1_024 }),
  model("claude-fable-5", "Claude Fable 5", "fable", "2026-06-09", { priority: true }),
  model("claude-mythos-5", "Claude Mythos 5", "mythos", "2026-06-09"),
  model("claude-opus-4-8", "Claude Opus 4.8", "opus", "2026-05-28", {
    fast: "beta",
    minCacheTokens: 1_024,
    priority: true,
  }),
  model("claude-opus-4-7", "Claude Opus 4.7", "opus", "2026-04-16", { minCacheTokens: 2_048, priority: true }),
  model("claude-sonnet-4-6", "Claude Sonnet 4.6", "sonnet", "2026-02-17", { minCacheTokens: 1_024, priority: true }),
  model("claude-opus-4-6", "Claude Opus 4.6", "opus", "2026-02-05", {
    fast: "ignored",
    minCacheTokens: 4_096,
    priority: true,
  }),
  model("claude-opus-4-5-20251101", "Claude Opus 4.5", "opus", "2025-11-24", {
    ...SMALL,
    aliases: ["claude-opus-4-5"],
    priority: true,
  }),
  model("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "haiku", "2025-10-15", {
    ...SMALL,
    aliases: ["claude-haiku-4-5"],
    priority: true,
  }),
  model("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "sonnet", "2025-09-29", {
    ...SMALL,
    aliases: ["claude-sonnet-4-5"],
    minCacheTokens: 1_024,
    priority: true,
    lifecycle: "deprecated",
    deprecatedAt: "2026-09-30T00:00:00Z",
    retiresAt: "2026-11-30T00:00:00Z",
  }),
];

const byName = new Map(SIMULATED_MODELS.flatMap((entry) => [entry.id, ...entry.aliases].map((name) => [name, entry])));

/** By id or alias; null for a model that is retired or was never heard of. */
export function findModel(name: string): SimulatedModel | null {
  return byName.get(name) ?? null;
}

/** A model in the shape of `GET /v1/models/{id}`. */
export function modelInfo(entry: SimulatedModel): object {
  const yes = { supported: true };
  const no = { supported: false };
  const recent = !entry.prefill;
  return {
    type: "model",
    id: entry.id,
    display_name: entry.displayName,
    created_at: entry.createdAt,
    line: entry.line,
    lifecycle: entry.lifecycle,
    deprecated_at: entry.deprecatedAt,
    retires_at: entry.retiresAt,
    max_input_tokens: entry.contextTokens,
    max_tokens: entry.maxOutputTokens,
    capabilities: {
      batch: yes,
      citations: yes,
      code_execution: yes,
      context_management: {
        supported: true,
        clear_thinking_20251015: yes,
        clear_tool_uses_20250919: yes,
        compact_20260112: recent ? yes : no,
      },
      effort: {
        supported: recent,
        low: recent ? yes : no,
        medium: recent ? yes : no,
        high: recent ? yes : no,
        xhigh: recent ? yes : null,
        max: recent ? yes : no,
      },
      image_input: yes,
      pdf_input: yes,
      server_tools: { supported: true, code_execution: yes, web_search: yes },
      structured_outputs: yes,
      thinking: {
        supported: true,
        types: { adaptive: recent ? yes : no, between_tools: recent ? yes : no, disabled: yes, enabled: yes },
      },
    },
  };
}

function model(
  id: string,
  displayName: string,
  line: SimulatedModel["line"],
  released: string,
  extra: Extra = {},
): SimulatedModel {
  return {
    id,
    displayName,
    line,
    createdAt: `${released}T00:00:00Z`,
    aliases: [],
    lifecycle: "active",
    deprecatedAt: null,
    retiresAt: null,
    contextTokens: 1_000_000,
    maxOutputTokens: 128_000,
    minCacheTokens: 512,
    fast: "no",
    prefill: false,
    priority: false,
    ...extra,
  };
}
