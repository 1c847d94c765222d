/**
 * Pools: the models that share one set of rate limits, and the limits that Anthropic publishes for them. Seed values
 * only: an organisation's real limits come from its answers' headers. Compiled 2026-11-22.
 */

/** How a call is served, each way with limits of its own: fast is `speed: "fast"`, priority a Priority Tier commitment. */
export const LANES = ["standard", "priority", "fast"] as const;
export type Lane = (typeof LANES)[number];

/** A dimension of a pool. `tokens` is the combined one, of use only where it is tighter than input + output. */
export const LIMITERS = ["requests", "input_tokens", "output_tokens", "tokens"] as const;
export type Limiter = (typeof LIMITERS)[number];

export const FAMILIES = ["opus", "sonnet", "haiku", "fable", "mythos", "other"] as const;
export type Family = (typeof FAMILIES)[number];

export const TIERS = ["start", "build", "scale"] as const;
export type Tier = (typeof TIERS)[number];

export type Pool = {
  id: string;
  name: string;
  family: Family;
  /** Models by id and alias. */
  models: readonly string[];
  /** Cache reads are free on current models; Haiku 3.5 counts them as input. */
  cacheReadsCount: boolean;
};

/** Per minute. Null where Anthropic publishes no figure. */
export type PublishedLimits = Record<"requests" | "input_tokens" | "output_tokens", number | null>;

export const POOLS: readonly Pool[] = [
  pool("fable-5.2", "Fable 5.2", "fable", ["claude-fable-5-2"]),
  pool("fable-5.x", "Fable 5.x", "fable", ["claude-fable-5-1", "claude-fable-5"]),
  pool("mythos-5.x", "Mythos 5.x", "mythos", ["claude-mythos-5-2", "claude-mythos-5-1", "claude-mythos-5"]),
  pool("opus-5.5", "Opus 5.5", "opus", ["claude-opus-5-5"]),
  pool("opus-5", "Opus 5", "opus", ["claude-opus-5"]),
  pool("opus-4.x", "Opus 4.x", "opus", [
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-opus-4-6",
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
  ]),
  pool("sonnet-5.5", "Sonnet 5.5", "sonnet", ["claude-sonnet-5-5"]),
  pool("sonnet-5", "Sonnet 5", "sonnet", ["claude-sonnet-5"]),
  pool("sonnet-4.x", "Sonnet 4.x", "sonnet", ["claude-sonnet-4-6", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"]),
  pool("haiku-5.5", "Haiku 5.5", "haiku", ["claude-haiku-5-5"]),
  pool("haiku-4.5", "Haiku 4.5", "haiku", ["claude-haiku-4-5", "claude-haiku-4-5-20251001"]),
  pool("haiku-3.5", "Haiku 3.5", "haiku", ["claude-3-5-haiku-20241022"], true),
];

const byModel = new Map(POOLS.flatMap((entry) => entry.models.map((model) => [model, entry] as const)));
const byId = new Map(POOLS.map((entry) => [entry.id, entry]));

/** The pool of a model. A model nobody has heard of gets one of its own, named after it, until headers say more. */
export function poolOf(model: string): Pool {
  return byModel.get(model) ?? pool(model, model, familyOf(model), [model]);
}

/** A pool by its id, with the same fallback as `poolOf`. */
export function getPool(id: string): Pool {
  return byId.get(id) ?? pool(id, id, familyOf(id), [id]);
}

/** The limits published for a pool at a tier, or nulls. */
export function publishedLimits(poolId: string, tier: Tier): PublishedLimits {
  const [requests = null, input = null, output = null] = tableOf(poolId)?.[tier] ?? [];
  return { requests, input_tokens: input, output_tokens: output };
}

function pool(id: string, name: string, family: Family, models: string[], cacheReadsCount = false): Pool {
  return { id, name, family, models, cacheReadsCount };
}

function familyOf(model: string): Family {
  return FAMILIES.find((family) => model.includes(family)) ?? "other";
}

type Table = Record<Tier, [requests: number, input: number, output: number]>;

const CURRENT: Table = {
  start: [1_000, 2_000_000, 400_000],
  build: [5_000, 5_000_000, 1_000_000],
  scale: [10_000, 10_000_000, 2_000_000],
};
const FABLE: Table = {
  start: [1_000, 500_000, 100_000],
  build: [2_000, 1_500_000, 300_000],
  scale: [4_000, 4_000_000, 800_000],
};
const HAIKU_3_5: Table = {
  start: [1_000, 100_000, 20_000],
  build: [2_000, 200_000, 40_000],
  scale: [4_000, 400_000, 80_000],
};

function tableOf(poolId: string): Table | undefined {
  if (poolId === "fable-5.x") return FABLE;
  if (poolId === "haiku-3.5") return HAIKU_3_5;
  return /^(opus|sonnet|haiku)-/.test(poolId) && byId.has(poolId) ? CURRENT : undefined;
}
