import { z } from "zod";
import type { Access } from "../access/access.ts";
import type { Database } from "../database/database.ts";
import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import type { Log } from "../kit/log.ts";
import type { LimitBook } from "../limits/limit-book.ts";
import { LimitChange, LimitRecord } from "../limits/schema.ts";
import type { LiveUsage } from "../usage/live-usage.ts";
import { CallsPage, UsageSeries } from "../usage/schema.ts";
import type { Costs } from "./costs.ts";
import type { OverviewHub } from "./overview-hub.ts";
import type { Refusals } from "./refusals.ts";

const EVERY_MS = 2_000;
const KEYS_EVERY_ROUNDS = 5;
const RETENTION_EVERY_MS = 6 * 3_600_000;
const RETENTION = { raw_days: 30, minute_days: 30, histogram_hours: 48 };
const WARM_MS = 16 * 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

type PastCost = Parameters<Costs["warm"]>[0][number];

const Seconds = z.object({
  points: z.array(
    z.object({
      second: z.int(),
      upstream: z.string(),
      pool: z.string().nullable(),
      lane: z.enum(["standard", "priority", "fast"]),
      agent: z.string(),
      requests: z.number(),
      inputTokens: z.number(),
      cacheWriteTokens: z.number(),
      cacheReadTokens: z.number(),
      outputTokens: z.number(),
      refusedCalls: z.number(),
    }),
  ),
});
const Minutes = z.object({ points: z.array(z.object({ minute: z.string(), refusal: z.string(), calls: z.int() })) });

export type HousekeepingOptions = {
  database: Database;
  live: LiveUsage;
  limits: LimitBook;
  costs: Costs;
  refusals: Refusals;
  overview: OverviewHub;
  access: Pick<Access, "refresh">;
  /** Ends when what an earlier process left in the spool is in the database. */
  recovered: () => Promise<void>;
  clock: Clock;
  log: Log;
};

/**
 * Keeps memory and database in step, off every call's way: once after the start it brings back what was before (limits,
 * the live view, today's cost); then every two seconds it stores limits and reads keys; now and then it lets go of what
 * is too old. While the database is away it tries again and says why.
 */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  readonly #startedMs: number;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> | null = null;
  #rounds = 0;
  #warm = false;
  #retainedMs = Number.NEGATIVE_INFINITY;
  #fault: string | null = null;
  #channels = 0;

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#startedMs = options.clock.now();
  }

  /** Why the database was not in step at the last try; null when it was. */
  get fault(): string | null {
    return this.#fault;
  }

  /** How many alert channels there are. */
  get channels(): number {
    return this.#channels;
  }

  start(): void {
    const turn = () => {
      this.#round ??= this.round().finally(() => {
        this.#round = null;
      });
    };
    turn();
    this.#timer = setInterval(turn, EVERY_MS).unref();
  }

  async close(): Promise<void> {
    if (this.#timer) clearInterval(this.#timer);
    await this.#round;
    await this.#storeLimits().catch(() => {});
  }

  /** One turn; never throws. */
  async round(): Promise<void> {
    try {
      if (!this.#warm) await this.#bringBack();
      await this.#storeLimits();
      if (this.#rounds % KEYS_EVERY_ROUNDS === 0) await this.#readKeys();
      this.#rounds += 1;
      await this.#letGo();
      this.#fault = null;
    } catch (error) {
      this.#fault = messageOf(error);
      this.#options.log.warn({ error: this.#fault }, "the database is not in step");
    }
  }

  async #storeLimits(): Promise<void> {
    const rows = this.#options.limits.takeUnsaved();
    if (rows.length === 0) return;
    try {
      const answer = z.object({ changes: z.array(LimitChange) });
      const { changes } = await this.#options.database.call("limits_record", { rows }, answer);
      for (const change of changes) this.#options.log.warn(change, "a limit has changed");
    } catch (error) {
      this.#options.limits.putBack(rows);
      throw error;
    }
  }

  async #readKeys(): Promise<void> {
    await this.#options.access.refresh();
    const channels = await this.#options.database.call("channels_list", {}, z.array(z.unknown()));
    this.#channels = channels.length;
  }

  /** Only calls that began before this process did: its own are in memory already. */
  async #bringBack(): Promise<void> {
    const { database, limits, live, costs, refusals, overview, recovered } = this.#options;
    const { limits: records } = await database.call("limits_list", {}, z.object({ limits: z.array(LimitRecord) }));
    limits.load(records);
    const { any } = await database.call("calls_any", {}, z.object({ any: z.boolean() }));
    overview.warm([], any);
    await recovered();

    const until = iso(this.#startedMs);
    const since = iso(this.#startedMs - WARM_MS);
    const seconds = await database.call("calls_seconds", { since }, Seconds);
    const past = await this.#pastCosts();
    const minutes = await database.call("refusals_by_minute", { since: iso(this.#startedMs - HOUR_MS) }, Minutes);
    const { calls } = await database.call("calls_list", { filter: { to: until, limit: 50 } }, CallsPage);

    const before = Math.floor(this.#startedMs / 1000);
    live.warm(
      seconds.points.flatMap((point) => (point.pool && point.second < before ? [{ ...point, pool: point.pool }] : [])),
    );
    costs.warm(past);
    for (const { minute, refusal, calls: count } of minutes.points) {
      refusals.count(refusal, Math.floor(Date.parse(minute) / 60_000), count);
    }
    overview.warm(calls, any || calls.length > 0);
    this.#warm = true;
  }

  /**
   * Today's cost up to the very moment of the start: whole hours and whole minutes from the rollups, the rest call by
   * call, since a rollup's last bucket holds calls of this process too.
   */
  async #pastCosts(): Promise<PastCost[]> {
    const day = this.#startedMs - (this.#startedMs % DAY_MS);
    const hour = this.#startedMs - (this.#startedMs % HOUR_MS);
    const minute = this.#startedMs - (this.#startedMs % 60_000);
    const past: PastCost[] = [];
    const sums = async (fromMs: number, toMs: number, stepSeconds: number) => {
      if (fromMs === toMs) return;
      const query = { from: iso(fromMs), to: iso(toMs), stepSeconds, groupBy: ["agent"] };
      const { points } = await this.#options.database.call("usage_series", { query }, UsageSeries);
      for (const { at, group, sums } of points) {
        past.push({
          atMs: Date.parse(at),
          agent: group.agent ?? "",
          nano: sums.costNanoUsd,
          unpricedCalls: sums.unpricedCalls,
        });
      }
    };
    await sums(day, hour, 3_600);
    await sums(hour, minute, 60);
    let cursor: string | undefined;
    do {
      const filter = { from: iso(minute), to: iso(this.#startedMs), limit: 1_000, cursor };
      const page = await this.#options.database.call("calls_list", { filter }, CallsPage);
      for (const call of page.calls) {
        const unpricedCalls = call.costNanoUsd === null ? 1 : 0;
        past.push({ atMs: Date.parse(call.startedAt), agent: call.agent, nano: call.costNanoUsd ?? 0, unpricedCalls });
      }
      cursor = page.nextCursor ?? undefined;
    } while (cursor);
    return past;
  }

  async #letGo(): Promise<void> {
    const nowMs = this.#options.clock.now();
    if (nowMs - this.#retainedMs < RETENTION_EVERY_MS) return;
    await this.#options.database.call("retention_apply", RETENTION, z.unknown());
    this.#retainedMs = nowMs;
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
