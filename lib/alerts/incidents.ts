import type { Clock } from "../kit/clock.ts";
import { createId } from "../kit/ids.ts";
import type { PoolState } from "../limits/schema.ts";
import { evaluate, sampleKey, watches } from "./evaluate.ts";
import { close, type Happening, type Incident, type Step, step } from "./lifecycle.ts";
import type { Alert, ResolvedReason, Rule } from "./schema.ts";

/** An incident as the database keeps it. */
export type StoredIncident = { alert: Alert; version: number; told: number; updatedAt: string };

/** A change that the database has not confirmed yet. Several changes of one incident become one. */
export type Change = {
  key: string;
  alert: Alert;
  /** The version it was made from; 0 has never been stored. */
  expectedVersion: number;
  told: number;
  remove: boolean;
  events: Happening[];
  channelIds: string[] | null;
  /** It was sent at least once, so the database may have it though no answer came. */
  attempted: boolean;
};

export type TopAgent = { agent: string; share: number };

export type JudgeInput = {
  rules: readonly Rule[];
  pools: readonly PoolState[];
  topAgents: (poolKey: string, limiter: Alert["limiter"]) => readonly TopAgent[];
};

type Tracked = Incident & { version: number; missingMs: number };

/** A pending incident that no evaluator vouched for that long has not been held: it starts over. */
const PENDING_GAP_MS = 90_000;
/** A limiter that is not even listed any more for that long is gone; longer than any restart. */
const LIMITER_GONE_MS = 600_000;

/**
 * The open incidents in memory: judged every round, loaded when this process becomes the evaluator, and ahead of the
 * database by the changes it has not confirmed.
 */
export class Incidents {
  #clock: Clock;
  #open = new Map<string, Tracked>();
  #changes = new Map<string, Change>();
  #judgedAt: number | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Pending, firing and recovering, newest first. */
  alerts(): Alert[] {
    return [...this.#open.values()]
      .map((tracked) => tracked.alert)
      .sort((a, b) => b.pendingSince.localeCompare(a.pendingSince) || (a.id < b.id ? 1 : -1));
  }

  changes(): Change[] {
    return [...this.#changes.values()];
  }

  /** Takes over what the database knows, in place of everything here. */
  load(stored: readonly StoredIncident[]): void {
    const now = this.#clock.now();
    this.#open.clear();
    this.#changes.clear();
    for (const { alert, version, told, updatedAt } of stored) {
      const restarted = alert.state === "pending" && Math.abs(now - Date.parse(updatedAt)) > PENDING_GAP_MS;
      const pendingSince = restarted ? new Date(now).toISOString() : alert.pendingSince;
      const heldMs = heldBefore({ ...alert, pendingSince }, updatedAt, now);
      const key = sampleKey(alert.ruleId, poolKey(alert), alert.limiter);
      this.#open.set(key, { alert: { ...alert, pendingSince }, heldMs, told, version, missingMs: 0 });
    }
    this.#judgedAt = null;
  }

  /** One round over everything. */
  judge({ rules, pools, topAgents }: JudgeInput): void {
    const nowMs = this.#clock.now();
    const monotonic = this.#clock.monotonic();
    const elapsedMs = this.#judgedAt === null ? 0 : monotonic - this.#judgedAt;
    this.#judgedAt = monotonic;
    const unseen = new Set(this.#open.keys());
    for (const sample of evaluate(rules, pools, nowMs)) {
      unseen.delete(sample.key);
      const before = this.#open.get(sample.key) ?? null;
      const after = step(before, sample, { nowMs, elapsedMs, createId: () => createId(nowMs) });
      if (after.incident && after.happenings.some((happening) => happening.event === "alert.firing")) {
        after.incident.alert.topAgents = topAgents(sample.pool.key, sample.limiter.limiter).slice(0, 3).map(tidy);
      }
      this.#take(sample.key, before, after, sample.rule.channelIds);
    }
    for (const key of unseen) this.#miss(key, rules, elapsedMs, nowMs);
  }

  /** Milliseconds until the first pending incident is due, if it goes on. */
  nextDueMs(rules: readonly Rule[]): number | null {
    const waits = [...this.#open.values()]
      .filter((tracked) => tracked.alert.state === "pending")
      .map((tracked) => {
        const rule = rules.find((candidate) => candidate.id === tracked.alert.ruleId);
        return (rule?.pendingSeconds ?? 0) * 1000 - tracked.heldMs;
      });
    return waits.length > 0 ? Math.min(...waits) : null;
  }

  /** Puts the figures of now on the list of changes, so that a restart finds them fresh. */
  refresh(): void {
    for (const [key, tracked] of this.#open) {
      if (!this.#changes.has(tracked.alert.id)) this.#note(key, tracked, tracked, [], null, false);
    }
  }

  /** The change as `alerts_record` takes it. From here on the database may have it. */
  attempt(change: Change, at: string): object {
    change.attempted = true;
    const { key: _key, attempted: _attempted, ...transition } = change;
    return { ...transition, at };
  }

  /** The database took the change. */
  confirm(change: Change, version: number): void {
    if (this.#changes.get(change.alert.id) === change) this.#changes.delete(change.alert.id);
    const tracked = this.#open.get(change.key);
    if (tracked?.alert.id === change.alert.id) tracked.version = version;
  }

  /** An incident whose limiter gave no sample: its rule is gone, or the limiter is. */
  #miss(key: string, rules: readonly Rule[], elapsedMs: number, nowMs: number): void {
    const tracked = this.#open.get(key);
    if (!tracked) return;
    const reason = whyUnwatched(tracked.alert, rules);
    tracked.missingMs += elapsedMs;
    if (reason) this.#take(key, tracked, close(tracked, reason, nowMs), null);
    else if (tracked.missingMs >= LIMITER_GONE_MS)
      this.#take(key, tracked, close(tracked, "limiter_gone", nowMs), null);
  }

  #take(key: string, before: Tracked | null, after: Step, channelIds: string[] | null): void {
    const { incident } = after;
    if (!incident) {
      this.#open.delete(key);
      if (before && after.changed) this.#note(key, before, before, [], null, true);
      return;
    }
    const tracked: Tracked = { ...incident, version: before?.version ?? 0, missingMs: 0 };
    if (incident.alert.state === "resolved") this.#open.delete(key);
    else this.#open.set(key, tracked);
    if (after.changed) this.#note(key, before, tracked, after.happenings, channelIds, false);
    else this.#freshen(tracked);
  }

  #note(
    key: string,
    before: Tracked | null,
    after: Tracked,
    events: Happening[],
    channelIds: string[] | null,
    remove: boolean,
  ): void {
    const earlier = this.#changes.get(after.alert.id);
    const expectedVersion = earlier?.expectedVersion ?? before?.version ?? 0;
    if (remove && expectedVersion === 0 && !earlier?.attempted) {
      this.#changes.delete(after.alert.id);
      return;
    }
    this.#changes.set(after.alert.id, {
      key,
      alert: after.alert,
      expectedVersion,
      attempted: earlier?.attempted ?? false,
      told: after.told,
      remove,
      events: [...(earlier?.events ?? []), ...events],
      channelIds: events.some((happening) => happening.event === "alert.firing")
        ? channelIds
        : (earlier?.channelIds ?? null),
    });
  }

  /** A change still waiting carries the newest figures when it goes. */
  #freshen(tracked: Tracked): void {
    const change = this.#changes.get(tracked.alert.id);
    if (change) change.alert = tracked.alert;
  }
}

/** Agents name themselves: a character that no database or terminal takes must not cost the alert. */
function tidy({ agent, share }: TopAgent): TopAgent {
  return {
    agent: agent
      .replace(/\p{Cc}+/gu, " ")
      .trim()
      .toWellFormed()
      .slice(0, 200),
    share,
  };
}

/**
 * How long an incident has held as far as is known. Pending counts the gap between two evaluators, so that a restart
 * delays no warning; recovering counts only what an evaluator has seen, so that a gap resolves nothing.
 */
function heldBefore(alert: Alert, updatedAt: string, nowMs: number): number {
  if (alert.state === "pending") return Math.max(0, nowMs - Date.parse(alert.pendingSince));
  if (alert.recoveringSince === null) return 0;
  return Math.max(0, Math.min(nowMs, Date.parse(updatedAt)) - Date.parse(alert.recoveringSince));
}

function whyUnwatched(alert: Alert, rules: readonly Rule[]): ResolvedReason | null {
  const rule = rules.find((candidate) => candidate.id === alert.ruleId);
  if (!rule) return "rule_deleted";
  if (!rule.enabled) return "rule_disabled";
  return watches(rule, alert, alert.limiter) ? null : "rule_changed";
}

function poolKey({ upstream, pool, lane }: Pick<Alert, "upstream" | "pool" | "lane">): string {
  return `${upstream}/${pool}/${lane}`;
}
