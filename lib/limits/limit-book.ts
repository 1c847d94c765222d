import { getPool, type Limiter, publishedLimits, type Tier } from "../anthropic/pools.ts";
import { type Clock, isoTime } from "../kit/clock.ts";
import { forecastEmpty, secondsToFull } from "./forecast.ts";
import { type Place, poolKey } from "./place.ts";
import type { LimiterState, LimitRecord, PoolState } from "./schema.ts";

/** One limiter's values as an answer's headers give them. */
export type ObservedLimit = {
  lane: Place["lane"];
  limiter: Limiter;
  limit: number;
  remaining: number | null;
  resetAt: string | null;
};

/** Use as the live view counts it, in whole seconds since the epoch: `from` < second ≤ `to`. */
export type UseSource = {
  used(key: string, limiter: Limiter, from: number, to: number): number;
  pools(): (Place & { key: string; openCalls: number; lastSecond: number })[];
};

const LIVE_MS = 2 * 60_000;
const IDLE_SECONDS = 10 * 60;
const SHOWN: readonly Limiter[] = ["requests", "input_tokens", "output_tokens", "tokens"];

type Entry = LimitRecord & { observedMs: number };
type PoolEntry = { place: Place; limiters: Map<Limiter, Entry> };

/**
 * What is known of every pool's limits, in memory. Headers speak for the moment at which their call was sent, because
 * the upstream takes its snapshot when it admits a call and a plain answer brings it only at the end; from there on the
 * bucket refills and is drawn down by what was sent since.
 */
export class LimitBook {
  readonly #clock: Clock;
  readonly #use: UseSource;
  readonly #tier: Tier;
  readonly #pools = new Map<string, PoolEntry>();
  #unsaved = new Set<Entry>();

  constructor(options: { clock: Clock; use: UseSource; tier?: Tier }) {
    this.#clock = options.clock;
    this.#use = options.use;
    this.#tier = options.tier ?? "start";
  }

  /** Takes the limits of one answer; `sentAtMs` is when its call went to the upstream. Older news than known is dropped. */
  observe(place: Place, observed: readonly ObservedLimit[], sentAtMs: number): void {
    const { upstream, pool } = place;
    const observedAt = isoTime(sentAtMs);
    let entry = this.#pool(place);
    // Every answer brings four of these: what they share is worked out once.
    for (const { lane, limiter, limit, remaining, resetAt } of observed) {
      if (lane !== entry.place.lane) entry = this.#pool({ upstream, pool, lane });
      const known = entry.limiters.get(limiter);
      if (known === undefined) {
        const first = { limit, remaining, resetAt, source: "header", observedAt, observedMs: sentAtMs } as const;
        this.#unsaved.add(put(entry, { upstream, pool, lane, limiter, ...first }));
        continue;
      }
      if (known.observedMs > sentAtMs) continue;
      known.limit = limit;
      known.remaining = remaining;
      known.resetAt = resetAt;
      known.source = "header";
      known.observedAt = observedAt;
      known.observedMs = sentAtMs;
      this.#unsaved.add(known);
    }
  }

  /** Takes what an earlier process had stored. What was heard since stands. */
  load(records: readonly LimitRecord[]): void {
    for (const record of records) {
      const pool = this.#pool(record);
      const observedMs = Date.parse(record.observedAt);
      const known = pool.limiters.get(record.limiter);
      if (known === undefined || known.observedMs <= observedMs) put(pool, { ...record, observedMs });
    }
  }

  /** What was heard since the last time, to be stored; each limiter once. */
  takeUnsaved(): LimitRecord[] {
    const records = [...this.#unsaved].map(({ observedMs: _, ...record }) => record);
    this.#unsaved.clear();
    return records;
  }

  /** The limits of a place, by limiter: heard, stored, or published. */
  known(place: Place): Partial<Record<Limiter, number>> {
    return Object.fromEntries(this.#entries(poolKey(place), place).map(({ limiter, limit }) => [limiter, limit]));
  }

  /** Takes back what could not be stored: what is known of the same by now is to be stored in its place. */
  putBack(records: readonly LimitRecord[]): void {
    for (const record of records) {
      const known = this.#pool(record).limiters.get(record.limiter);
      if (known) this.#unsaved.add(known);
    }
  }

  /** Every pool that was ever called or heard of, now. */
  states(): PoolState[] {
    const nowMs = this.#clock.now();
    const used = new Map(this.#use.pools().map((pool) => [pool.key, pool]));
    const places = new Map<string, Place>([...used].map(([key, pool]) => [key, pool]));
    for (const [key, entry] of this.#pools) places.set(key, entry.place);
    const states = [...places].map(([key, place]) => this.#state(key, place, used.get(key), nowMs));
    // A model that does not exist has calls, and no limits.
    return states.filter(({ limiters }) => limiters.length > 0).sort(byName);
  }

  /** Pools at rest with their published limits: what a first visitor is shown before any call. */
  unseen(poolIds: readonly string[], upstream: string): PoolState[] {
    return poolIds.map((pool) => {
      const place: Place = { upstream, pool, lane: "standard" };
      return this.#state(poolKey(place), place, undefined, this.#clock.now());
    });
  }

  #pool(place: Place): PoolEntry {
    const key = poolKey(place);
    let pool = this.#pools.get(key);
    if (!pool) {
      pool = { place: { upstream: place.upstream, pool: place.pool, lane: place.lane }, limiters: new Map() };
      this.#pools.set(key, pool);
    }
    return pool;
  }

  #state(
    key: string,
    place: Place,
    use: { openCalls: number; lastSecond: number } | undefined,
    nowMs: number,
  ): PoolState {
    const { name, family } = getPool(place.pool);
    const entries = this.#entries(key, place);
    const heardMs = Math.max(0, ...entries.map((entry) => entry.observedMs));
    const quietSeconds = nowMs / 1000 - (use?.lastSecond ?? 0);
    const state = !use && heardMs === 0 ? "unseen" : !use || quietSeconds > IDLE_SECONDS ? "idle" : "stale";
    return {
      key,
      ...place,
      name,
      family,
      state: state === "stale" && nowMs - heardMs <= LIVE_MS ? "live" : state,
      openCalls: use?.openCalls ?? 0,
      lastCallAt: use && use.lastSecond > 0 ? new Date(use.lastSecond * 1000).toISOString() : null,
      limiters: entries.map((entry) => this.#limiter(key, entry, nowMs)),
    };
  }

  #entries(key: string, place: Place): Entry[] {
    const known = this.#pools.get(key)?.limiters ?? new Map<Limiter, Entry>();
    const published = place.lane === "standard" ? publishedLimits(place.pool, this.#tier) : null;
    const sum = (known.get("input_tokens")?.limit ?? 0) + (known.get("output_tokens")?.limit ?? 0);
    const entries: Entry[] = [];
    for (const limiter of SHOWN) {
      const heard = known.get(limiter);
      // The combined limiter repeats input + output, unless a workspace has a tighter one.
      if (limiter === "tokens" && (!heard || (sum > 0 && heard.limit >= sum))) continue;
      const seed = published && limiter !== "tokens" ? published[limiter] : null;
      if (heard) entries.push(heard);
      else if (seed !== null) entries.push(unheard(place, limiter, seed));
    }
    return entries;
  }

  #limiter(key: string, entry: Entry, nowMs: number): LimiterState {
    const { limiter, limit, source } = entry;
    const now = Math.floor(nowMs / 1000);
    const usedLastMinute = this.#use.used(key, limiter, now - 60, now);
    let remaining: number | null = null;
    let secondsToLimit: LimiterState["secondsToLimit"] = null;
    if (entry.remaining !== null) {
      const since = Math.floor(entry.observedMs / 1000);
      const refilled = entry.remaining + (limit / 60) * Math.max(0, (nowMs - entry.observedMs) / 1000);
      remaining = Math.max(0, Math.min(limit, refilled - this.#use.used(key, limiter, since, now)));
      const rate = (seconds: number) => this.#use.used(key, limiter, now - 1 - seconds, now - 1) / seconds;
      secondsToLimit = forecastEmpty({ limit, remaining, usePerSecond: [rate(15), rate(60)] });
    }
    const used = Math.max(usedLastMinute, remaining === null ? 0 : limit - remaining);
    return {
      limiter,
      limit,
      remaining,
      usedLastMinute,
      used,
      utilisation: limit > 0 ? used / limit : 0,
      source,
      observedAt: entry.observedMs > 0 ? entry.observedAt : null,
      resetAt: entry.resetAt,
      secondsToLimit,
      secondsToFull: remaining === null ? null : secondsToFull(limit, remaining),
    };
  }
}

function put(pool: PoolEntry, entry: Entry): Entry {
  pool.limiters.set(entry.limiter, entry);
  return entry;
}

function unheard(place: Place, limiter: Limiter, limit: number): Entry {
  const observedAt = new Date(0).toISOString();
  return { ...place, limiter, limit, remaining: null, resetAt: null, source: "published", observedAt, observedMs: 0 };
}

const ORDER = ["opus", "sonnet", "haiku", "fable", "mythos", "other"];

function byName(a: PoolState, b: PoolState): number {
  return (
    ORDER.indexOf(a.family) - ORDER.indexOf(b.family) || b.name.localeCompare(a.name) || a.key.localeCompare(b.key)
  );
}
