import { z } from "zod";
import type { Database } from "../database/database.ts";
import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import { createId } from "../kit/ids.ts";
import type { Log } from "../kit/log.ts";
import { UsageSeries, type UsageSums } from "../usage/schema.ts";
import type { AdminReports } from "./admin-reports.ts";
import { combine, isNothing, NO_SUMS, undated } from "./day-sums.ts";
import {
  type DaySums,
  type MissingReason,
  type ReconciledDay,
  type ReconciliationAnswer,
  type ReconciliationQuery,
  ReportedDay,
} from "./schema.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The reports are about half an hour late: a day is taken for complete once it has been over for twice that. */
const COMPLETE_AFTER_MS = HOUR_MS;
/** All of these are read each time, for a report may still be put right. */
const DAYS = 31;
const READ_EVERY_MS = HOUR_MS;
const LOOK_EVERY_MS = 10 * 60_000;
const FIRST_LOOK_MS = 2_000;
const LEASE_SECONDS = 600;
const SEARCH_NANO_USD = 10_000_000;

const Reported = z.object({ days: z.array(ReportedDay) });
const Lease = z.object({ held: z.boolean() });

type OwnSums = DaySums & { unpricedCalls: number };

export type ReconciliationOptions = {
  database: Database;
  /** Null without an Admin key. */
  reports: AdminReports | null;
  clock: Clock;
  log: Log;
  random?: () => number;
};

/**
 * Lays Anthropic's own reports beside Headroom's sums, whole UTC days at a time, and never mixes one into the other. The
 * reports are read once an hour by one of all instances, and kept in the database.
 *
 * Both sides see a day alike but for three things: a call over midnight may be in the day of its start here and in the
 * next there; what several models did for one answer is in the row of the one that answered here, and in a row for each
 * there; and Priority Tier tokens have their list price here and no cost there.
 */
export class Reconciliation {
  readonly #options: ReconciliationOptions;
  readonly #holder = createId();
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> | null = null;
  #fault: string | null = null;
  #triedMs: number | null = null;

  constructor(options: ReconciliationOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.reports) this.#look(FIRST_LOOK_MS);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#timer) clearTimeout(this.#timer);
    await this.#round;
  }

  /** One look, which reads the reports if that is due; never throws, and never runs twice at once. */
  round(): Promise<void> {
    this.#round ??= this.#readIfDue().finally(() => {
      this.#round = null;
    });
    return this.#round;
  }

  /** Both sides of each UTC day, and what they differ by. */
  async compare(query: ReconciliationQuery): Promise<ReconciliationAnswer> {
    const { database, reports, clock } = this.#options;
    const fromMs = floorDay(Date.parse(query.from));
    const toMs = floorDay(Date.parse(query.to) + DAY_MS - 1);
    const reported = await this.#reported(fromMs, toMs);
    const { points } = await database.call(
      "usage_series",
      {
        query: {
          ...{ from: iso(fromMs), to: iso(toMs), stepSeconds: DAY_MS / 1000, groupBy: ["model"] },
          upstream: query.upstream ?? null,
        },
      },
      UsageSeries,
    );
    const missing = (dayMs: number): MissingReason => {
      if (!reports) return "no_admin_key";
      return dayMs < this.#completeMs() ? "not_read" : "not_complete";
    };
    const days: ReconciledDay[] = [];
    for (let dayMs = fromMs; dayMs < toMs && dayMs <= clock.now(); dayMs += DAY_MS) {
      const own = ownSums(points.filter(({ at }) => Date.parse(at) === dayMs));
      days.push(compareDay(iso(dayMs), own, reported.get(dayMs), missing(dayMs)));
    }
    const triedAt = this.#triedMs === null ? null : iso(this.#triedMs);
    return { reading: { hasAdminKey: reports !== null, fault: this.#fault, triedAt }, days };
  }

  /** Not to the second, so that several instances do not ask at the same moment. */
  #look(afterMs: number): void {
    const { random = Math.random } = this.#options;
    this.#timer = setTimeout(
      () => this.round().then(() => this.#closing.signal.aborted || this.#look(LOOK_EVERY_MS)),
      afterMs * (0.75 + random() / 2),
    ).unref();
  }

  /** The midnight up to which days are complete. */
  #completeMs(): number {
    return floorDay(this.#options.clock.now() - COMPLETE_AFTER_MS);
  }

  async #reported(fromMs: number, toMs: number): Promise<Map<number, ReportedDay>> {
    const query = { from: iso(fromMs), to: iso(toMs) };
    const { days } = await this.#options.database.call("reconciliation_list", { query }, Reported);
    return new Map(days.map((day) => [Date.parse(day.day), day]));
  }

  async #readIfDue(): Promise<void> {
    const { database, reports, clock, log } = this.#options;
    if (!reports) return;
    const lease = { lease_name: "reconciliation", holder: this.#holder };
    const toMs = this.#completeMs();
    try {
      const { held } = await database.call("leases_claim", { ...lease, ttl_seconds: LEASE_SECONDS }, Lease);
      if (!held) return;
      const newest = (await this.#reported(toMs - DAY_MS, toMs)).get(toMs - DAY_MS);
      if (newest && clock.now() - Date.parse(newest.readAt) < READ_EVERY_MS) return;
      this.#triedMs = clock.now();
      const readAt = iso(this.#triedMs);
      const days = await reports.read(toMs - DAYS * DAY_MS, toMs, this.#closing.signal);
      await database.call("reconciliation_record", { days: days.map((day) => ({ ...day, readAt })) }, z.unknown());
      this.#fault = null;
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#fault = messageOf(error);
      log.warn({ error: this.#fault }, "Anthropic's usage and cost reports could not be read");
    } finally {
      await database.call("leases_release", lease, z.unknown()).catch(() => {});
    }
  }
}

/** Headroom's side of a day. A search has the price of no model, and stands beside them as it does in the reports. */
function ownSums(
  points: readonly { group: { model?: string | null }; sums: UsageSums }[],
): Map<string | null, OwnSums> {
  const models = new Map<string | null, OwnSums>();
  const add = (model: string | null, sums: DaySums, unpricedCalls: number) => {
    const before = models.get(model) ?? { ...NO_SUMS, unpricedCalls: 0 };
    models.set(model, { ...combine(before, 1, sums), unpricedCalls: before.unpricedCalls + unpricedCalls });
  };
  for (const { group, sums } of points) {
    const searches = Math.min(sums.webSearchRequests * SEARCH_NANO_USD, sums.costNanoUsd);
    const { unpricedCalls, costNanoUsd } = sums;
    add(undated(group.model ?? null), { ...tokensOf(sums), costNanoUsd: costNanoUsd - searches }, unpricedCalls);
    add(null, { ...NO_SUMS, costNanoUsd: searches }, 0);
  }
  for (const [model, sums] of models) if (isNothing(sums) && sums.unpricedCalls === 0) models.delete(model);
  return models;
}

function tokensOf(sums: UsageSums): Omit<DaySums, "costNanoUsd"> {
  const { inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens, webSearchRequests } =
    sums;
  return { inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens, webSearchRequests };
}

function compareDay(
  day: string,
  own: Map<string | null, OwnSums>,
  reported: ReportedDay | undefined,
  missing: MissingReason,
): ReconciledDay {
  const theirs = new Map(reported?.models.map(({ model, ...sums }) => [model, sums]));
  const known = [...new Set([...theirs.keys(), ...own.keys()])];
  const names = [...known.filter((name) => name !== null).sort(), ...known.filter((name) => name === null)];
  const side = (anthropic: DaySums | null, headroom: OwnSums | null) => {
    const difference = reported ? combine(anthropic ?? NO_SUMS, -1, headroom ?? NO_SUMS) : null;
    return { anthropic, headroom, difference };
  };
  const models = names.map((model) => {
    const [anthropic, headroom] = [theirs.get(model) ?? null, own.get(model) ?? null];
    const reason = !reported ? missing : !headroom ? "outside_headroom" : anthropic ? null : "not_reported";
    return { model, reason, ...side(anthropic, headroom) } as const;
  });
  const sumOf = <Sums extends DaySums>(sums: Iterable<Sums>) => {
    let total = NO_SUMS;
    for (const each of sums) total = combine(total, 1, each);
    return total;
  };
  const unpricedCalls = [...own.values()].reduce((total, sums) => total + sums.unpricedCalls, 0);
  const total = side(reported ? sumOf(theirs.values()) : null, { ...sumOf(own.values()), unpricedCalls });
  return { day, readAt: reported?.readAt ?? null, reason: reported ? null : missing, models, total };
}

function floorDay(ms: number): number {
  return Math.floor(ms / DAY_MS) * DAY_MS;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
