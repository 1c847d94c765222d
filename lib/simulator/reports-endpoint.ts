import { findPrice, type ModelPrice } from "../anthropic/price-list.ts";
import { invalidRequest } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { asOneOf, fail } from "./field.ts";
import type { LedgerEntry, LedgerUsage } from "./ledger.ts";
import { findModel } from "./models.ts";
import { pageByCursor } from "./paging.ts";
import type { SimulatorState } from "./simulator-state.ts";

/** Calls are in the reports half an hour after they came. */
const LAG_MS = 30 * 60_000;
const WIDTHS = {
  "1m": { ms: 60_000, otherwise: 60, maximum: 1_440 },
  "1h": { ms: 3_600_000, otherwise: 24, maximum: 168 },
  "1d": { ms: 86_400_000, otherwise: 7, maximum: 31 },
} as const;
type Width = keyof typeof WIDTHS;
const WIDTH_NAMES = ["1d", "1m", "1h"] as const;

/** Money is summed in twentieths of a nano-dollar, in which 1.1x and 0.5x are whole; a cent has so many. */
const PER_CENT = 200_000_000n;
const WEB_SEARCH = 200_000_000n;

/** What one model did for one call, or beside it. */
type Part = { model: string; usage: LedgerUsage; webSearches: number; entry: LedgerEntry };
type Bucket = { id: string; starting_at: string; ending_at: string; parts: Part[] };

/** `GET /v1/organizations/usage_report/messages`: tokens by bucket of time, and by model if that is asked for. */
export function reportUsage(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const width = asOneOf(query.get("bucket_width") ?? "1d", "bucket_width", WIDTH_NAMES);
  const groups = groupsOf(query, ["model"] as const);
  send(exchange, state, width, (parts) =>
    groupBy(parts, ({ model }) => (groups.has("model") ? model : null)).map(([model, of]) => ({
      uncached_input_tokens: sum(of, ({ usage }) => usage.inputTokens),
      cache_creation: {
        ephemeral_1h_input_tokens: sum(of, ({ usage }) => usage.cacheWrite1h),
        ephemeral_5m_input_tokens: sum(of, ({ usage }) => usage.cacheWrite5m),
      },
      cache_read_input_tokens: sum(of, ({ usage }) => usage.cacheRead),
      output_tokens: sum(of, ({ usage }) => usage.output),
      server_tool_use: { web_search_requests: sum(of, ({ webSearches }) => webSearches) },
      model,
    })),
  );
}

type CostItem = {
  description: string;
  cost_type: "tokens" | "web_search";
  model: string | null;
  token_type: string | null;
  service_tier: string | null;
  amount: bigint;
};

/**
 * `GET /v1/organizations/cost_report`: money by day. It knows models only as a part of the grouping by description, and
 * a search is no model's. Priority Tier tokens have no cost here.
 */
export function reportCosts(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  asOneOf(query.get("bucket_width") ?? "1d", "bucket_width", ["1d"] as const);
  const groups = groupsOf(query, ["description"] as const);
  send(exchange, state, "1d", (parts) => {
    const items = parts.flatMap(costItems).filter(({ amount }) => amount > 0n);
    const key = (item: CostItem) =>
      groups.has("description") ? JSON.stringify([item.description, item.service_tier]) : null;
    return groupBy(items, key).map(([described, of]) => {
      const named = described === null ? undefined : of[0];
      const amount = of.reduce((total, item) => total + item.amount, 0n);
      return {
        amount: cents((amount * BigInt(Math.round(state.priceFactor * 1_000))) / 1_000n),
        currency: "USD",
        description: named?.description ?? null,
        cost_type: named?.cost_type ?? null,
        model: named?.model ?? null,
        token_type: named?.token_type ?? null,
        service_tier: named?.service_tier ?? null,
      };
    });
  });
}

function groupsOf<Name extends string>(query: URLSearchParams, allowed: readonly Name[]): Set<Name> {
  return new Set(query.getAll("group_by[]").map((name) => asOneOf(name, "group_by", allowed)));
}

function send(exchange: Exchange, state: SimulatorState, width: Width, results: (parts: Part[]) => object[]): void {
  const { ms, otherwise, maximum } = WIDTHS[width];
  const query = exchange.url.searchParams;
  const nowMs = exchange.clock.now();
  const startMs = Math.floor(instantOf(query, "starting_at") / ms) * ms;
  const endMs = query.has("ending_at") ? instantOf(query, "ending_at") : Math.ceil(nowMs / ms) * ms;
  if (endMs <= startMs) throw invalidRequest("ending_at: must be after starting_at");
  const count = Math.min(Math.floor((endMs - startMs) / ms), 100_000);
  const buckets = Array.from({ length: count }, (_, index): Bucket => {
    const [from, to] = [startMs + index * ms, startMs + (index + 1) * ms].map((at) => `${iso(at)}Z`);
    return { id: from ?? "", starting_at: from ?? "", ending_at: to ?? "", parts: [] };
  });
  for (const entry of state.ledger.entries) {
    const atMs = Date.parse(entry.at);
    if (atMs > nowMs - LAG_MS) continue;
    buckets[Math.floor((atMs - startMs) / ms)]?.parts.push(...partsOf(entry));
  }
  const page = pageByCursor(buckets, query, { otherwise, maximum });
  exchange.sendJson(200, {
    data: page.data.map(({ starting_at, ending_at, parts }) => ({ starting_at, ending_at, results: results(parts) })),
    has_more: page.next_page !== null,
    next_page: page.next_page,
  });
}

/** What was billed of an entry: each sampling is of its own model, the searches of the one that answered. */
function partsOf(entry: LedgerEntry): Part[] {
  if (!entry.billed || entry.model === null) return [];
  const { model, webSearchRequests: webSearches } = entry;
  if (entry.iterations === null) return isEmpty(entry) ? [] : [{ model, usage: entry.usage, webSearches, entry }];
  const billed = entry.iterations.filter((iteration) => iteration.billed);
  return billed.map((iteration, index) => ({ ...iteration, webSearches: index === 0 ? webSearches : 0, entry }));
}

function isEmpty({ usage, webSearchRequests }: LedgerEntry): boolean {
  return webSearchRequests === 0 && Object.values(usage).every((tokens) => tokens === 0);
}

function costItems({ model, usage, webSearches, entry }: Part): CostItem[] {
  const atMs = Date.parse(entry.at);
  const search: CostItem = {
    ...{ description: "Web Search Usage", cost_type: "web_search", model: null, token_type: null, service_tier: null },
    amount: BigInt(webSearches) * WEB_SEARCH,
  };
  const price = findPrice(model, atMs);
  if (price === null || entry.serviceTier === "priority") return [search];
  const speed = price === findPrice(entry.model ?? "", atMs) ? entry.speed : null;
  const rates = ratesOf(price, usage, speed);
  const twentieths =
    (entry.inferenceGeo === "us" && price.hasGeographySurcharge ? 11 : 10) * (entry.serviceTier === "batch" ? 1 : 2);
  const name = findModel(model)?.displayName ?? model;
  const item = (token_type: string, text: string, nano: number): CostItem => ({
    ...{ description: `${name} Usage - ${text}`, cost_type: "tokens", model, token_type },
    service_tier: entry.serviceTier,
    amount: BigInt(nano) * BigInt(twentieths),
  });
  return [
    item("uncached_input_tokens", "Input Tokens", usage.inputTokens * rates.input),
    item("cache_read_input_tokens", "Cache Read Tokens", usage.cacheRead * rates.cacheRead),
    item("cache_creation.ephemeral_5m_input_tokens", "5m Cache Write Tokens", usage.cacheWrite5m * rates.cacheWrite5m),
    item("cache_creation.ephemeral_1h_input_tokens", "1h Cache Write Tokens", usage.cacheWrite1h * rates.cacheWrite1h),
    item("output_tokens", "Output Tokens", usage.output * rates.output),
    search,
  ];
}

function ratesOf(price: ModelPrice, usage: LedgerUsage, speed: LedgerEntry["speed"]) {
  if (speed === "fast" && price.fast) return price.fast;
  const prompt = usage.inputTokens + usage.cacheWrite5m + usage.cacheWrite1h + usage.cacheRead;
  return price.longPrompt && prompt > price.longPrompt.above ? price.longPrompt.rates : price.rates;
}

function cents(twentieths: bigint): string {
  const fraction = String(((twentieths % PER_CENT) * 1_000_000_000n) / PER_CENT).padStart(9, "0");
  return `${twentieths / PER_CENT}.${fraction}`.replace(/\.?0+$/, "");
}

function groupBy<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): [Key, Item[]][] {
  const groups = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return [...groups];
}

function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function instantOf(query: URLSearchParams, name: string): number {
  const text = query.get(name);
  if (text === null) fail(name, "Field required");
  const isTime = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/.test(text);
  const ms = isTime ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? fail(name, "Input should be a valid datetime") : ms;
}

/** To the second. */
function iso(ms: number): string {
  return new Date(ms).toISOString().slice(0, 19);
}
