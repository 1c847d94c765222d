import { Counter, Gauge, Registry } from "prom-client";
import type { CacheState } from "../gateway/response-cache.ts";
import type { TrafficSnapshot } from "../traffic/schema.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { Overview } from "./schema.ts";
import { TrafficMetrics } from "./traffic-metrics.ts";

const LIMITER_LABELS = ["upstream", "pool", "lane", "limiter"] as const;
const CALL_LABELS = ["upstream", "pool", "model", "outcome"] as const;
const TOKEN_LABELS = ["upstream", "pool", "model", "kind"] as const;

const MAX_PLACES = 2_000;
const OTHER = "other";

type PlaceSums = {
  place: { upstream: string; pool: string; model: string };
  outcomes: Record<CallRecord["outcome"], number>;
  costNanoUsd: number;
} & Record<"input" | "cache_write_5m" | "cache_write_1h" | "cache_read" | "output", number>;

/** What `/metrics` tells Prometheus: calls and tokens since the start of this process, and every limiter as it is now. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #calls = this.#counter("headroom_calls_total", "Calls that have ended.", CALL_LABELS);
  readonly #tokens = this.#counter("headroom_tokens_total", "Tokens by kind, as Anthropic counts them.", TOKEN_LABELS);
  readonly #cost = this.#counter("headroom_cost_usd_total", "Cost at list price, in US dollars.", [
    "upstream",
    "pool",
    "model",
  ]);
  readonly #limit = this.#gauge("headroom_limit", "The limit, in requests or tokens a minute.", LIMITER_LABELS);
  readonly #used = this.#gauge("headroom_limit_used", "What of the limit is in use.", LIMITER_LABELS);
  readonly #open = this.#gauge("headroom_open_calls", "Calls that have arrived and not ended.", []);
  readonly #spool = this.#gauge("headroom_spool_rows", "Recorded calls that are not in the database yet.", []);
  readonly #traffic = new TrafficMetrics(this.#registry);
  readonly #cached = this.#counter(
    "headroom_response_cache_calls_total",
    "Calls that asked to be answered from memory, and whether they were.",
    ["result"],
  );
  readonly #cacheBytes = this.#gauge("headroom_response_cache_bytes", "What kept answers take of memory.", []);
  readonly #alerts = this.#gauge("headroom_alerts", "Alerts by state.", ["state"]);

  readonly #places = new Map<string, PlaceSums>();

  /** Takes a call that has ended. */
  add(call: CallRecord): void {
    const sums = this.#sumsOf(call);
    sums.outcomes[call.outcome] += 1;
    sums.input += call.inputTokens;
    sums.cache_write_5m += call.cacheWrite5mTokens;
    sums.cache_write_1h += call.cacheWrite1hTokens;
    sums.cache_read += call.cacheReadTokens;
    sums.output += call.outputTokens;
    sums.costNanoUsd += call.costNanoUsd ?? 0;
  }

  /** The text that Prometheus reads. */
  async render(
    { pools, gateway, alerts, queue }: Overview,
    traffic: TrafficSnapshot,
    cache: CacheState,
  ): Promise<{ contentType: string; text: string }> {
    this.#count();
    for (const gauge of [this.#limit, this.#used, this.#alerts]) gauge.reset();
    for (const { upstream, pool, lane, limiters } of pools) {
      for (const { limiter, limit, used } of limiters) {
        this.#limit.set({ upstream, pool, lane, limiter }, limit);
        this.#used.set({ upstream, pool, lane, limiter }, used);
      }
    }
    this.#traffic.set(traffic, queue);
    for (const { state } of alerts) this.#alerts.inc({ state });
    this.#cached.reset();
    this.#cached.inc({ result: "hit" }, cache.hits);
    this.#cached.inc({ result: "miss" }, cache.misses);
    this.#cacheBytes.set(cache.bytes);
    this.#open.set(gateway.openCalls);
    this.#spool.set(gateway.spoolRows);
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  /** Calls are summed by hand and told to the library when somebody asks: its labels cost more than all else here. */
  #count(): void {
    for (const counter of [this.#calls, this.#tokens, this.#cost]) counter.reset();
    for (const { place, outcomes, costNanoUsd, ...kinds } of this.#places.values()) {
      for (const [outcome, calls] of Object.entries(outcomes))
        if (calls > 0) this.#calls.inc({ ...place, outcome }, calls);
      for (const [kind, tokens] of Object.entries(kinds)) if (tokens > 0) this.#tokens.inc({ ...place, kind }, tokens);
      if (costNanoUsd > 0) this.#cost.inc(place, costNanoUsd / 1e9);
    }
  }

  #sumsOf({ upstream, pool, model }: CallRecord): PlaceSums {
    const key = `${upstream}\n${pool}\n${model}`;
    // Callers can name models that do not exist, as many as they like.
    const hasRoom = this.#places.size < MAX_PLACES;
    const known = this.#places.get(key) ?? (hasRoom ? undefined : this.#places.get(OTHER));
    if (known) return known;
    const sums: PlaceSums = {
      place: hasRoom
        ? { upstream, pool: pool ?? "", model: model ?? "" }
        : { upstream: OTHER, pool: OTHER, model: OTHER },
      outcomes: { succeeded: 0, partial: 0, refused: 0, failed: 0, canceled: 0 },
      ...{ input: 0, cache_write_5m: 0, cache_write_1h: 0, cache_read: 0, output: 0, costNanoUsd: 0 },
    };
    this.#places.set(hasRoom ? key : OTHER, sums);
    return sums;
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  #gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }
}
