import { createHash } from "node:crypto";
import { getPool, POOLS, poolOf } from "../anthropic/pools.ts";
import { notFound } from "./api-error.ts";
import { parseVersion } from "./api-version.ts";
import type { Exchange } from "./exchange.ts";
import { asOneOf } from "./field.ts";
import { findModel, SIMULATED_MODELS } from "./models.ts";
import type { OrganizationLimits } from "./organization-limits.ts";
import { pageByCursor } from "./paging.ts";
import type { SimulatorState } from "./simulator-state.ts";

const GROUP_TYPES = ["model_group", "batch", "token_count", "files", "skills", "web_search"] as const;
type GroupType = (typeof GROUP_TYPES)[number];
type Entry = {
  id: string;
  group: { type: GroupType; id: string; display_name?: string };
  models: string[] | null;
  limits: { type: string; value: number }[];
};

/** `GET /v1/organizations/rate_limits`: what is in force, as the buckets have it. */
export function listRateLimits(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const version = parseVersion(exchange.header("anthropic-version"));
  const groupType = query.get("group_type");
  const only = groupType === null ? null : asOneOf(groupType, "group_type", GROUP_TYPES);
  const model = query.get("model");
  if (model !== null && !findModel(model)) throw notFound(`model: ${model}`);
  const entries = entriesOf(state).filter(
    (entry) => (only === null || entry.group.type === only) && (model === null || entry.models?.includes(model)),
  );
  const { data, next_page } = pageByCursor(entries, query, { otherwise: Math.max(1, entries.length) });
  exchange.sendJson(200, {
    data: data.map((entry) => {
      const { id, group, models, limits } = entry;
      const named = version === "2023-06-01" ? { group_type: group.type } : { group };
      return { type: "rate_limit", id, ...named, models, limits };
    }),
    next_page,
  });
}

function entriesOf(state: SimulatorState): Entry[] {
  const { limits } = state;
  const pools = POOLS.filter((pool) => SIMULATED_MODELS.some((model) => poolOf(model.id).id === pool.id));
  const surface = (type: GroupType, values: Entry["limits"]): Entry => ({
    id: idOf("rl", `${state.organizationId} ${type}`),
    group: { type, id: idOf("rlg", type) },
    models: null,
    limits: values,
  });
  const perMinute = (key: string) => [{ type: "requests_per_minute", value: limits.limitsOf(key).requests }];
  const queue = { type: "enqueued_batch_requests", value: limits.limitsOf("batch_queue").requests };
  return [
    ...pools.map((pool) => modelGroup(pool.id, limits, state.organizationId)),
    surface("batch", [...perMinute("batches"), queue]),
    surface("token_count", perMinute("count_tokens")),
    surface("files", perMinute("files")),
    surface("skills", perMinute("skills")),
    surface("web_search", perMinute("web_search")),
  ];
}

function modelGroup(poolId: string, limits: OrganizationLimits, organizationId: string): Entry {
  const pool = getPool(poolId);
  const { requests, input_tokens, output_tokens } = limits.limitsOf(poolId);
  const input = pool.cacheReadsCount ? "input_tokens_per_minute" : "input_tokens_per_minute_cache_aware";
  return {
    id: idOf("rl", `${organizationId} ${poolId}`),
    group: { type: "model_group", id: idOf("rlg", poolId), display_name: `Claude ${pool.name}` },
    models: [...pool.models],
    limits: [
      { type: "requests_per_minute", value: requests },
      { type: input, value: input_tokens },
      { type: "output_tokens_per_minute", value: output_tokens },
    ],
  };
}

/** The same in every run: a group's id never changes, an entry's differs by organisation. */
function idOf(prefix: string, of: string): string {
  const digits = BigInt(`0x${createHash("sha256").update(of).digest("hex").slice(0, 30)}`).toString(36);
  return `${prefix}_01${digits}`;
}
