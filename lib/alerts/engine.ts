import { z } from "zod";
import type { Database } from "../database/database.ts";
import { type Clock, systemClock } from "../kit/clock.ts";
import { AppError, messageOf } from "../kit/errors.ts";
import type { Log } from "../kit/log.ts";
import type { PoolState } from "../limits/schema.ts";
import { type Change, Incidents, type TopAgent } from "./incidents.ts";
import { Alert, Rule } from "./schema.ts";

export type AlertEngineOptions = {
  database: Database;
  log: Log;
  /** Names this process among the instances that share the database. */
  holder: string;
  pools: () => PoolState[];
  /** Who used most of a limiter in the last 60 s, largest first. */
  topAgents: (poolKey: string, limiter: Alert["limiter"]) => readonly TopAgent[];
  /** Called when a notice was written to the outbox. */
  onNotice?: () => void;
  clock?: Clock;
};

const LEASE = "alerts";
const LEASE_SECONDS = 15;
/** How often the lease is renewed and the rules are read again. */
const SYNC_MS = 5_000;
const ROUND_MS = 2_000;
/** How often the figures of open incidents are stored though nothing changed. */
const REFRESH_MS = 30_000;

const Lease = z.object({ held: z.boolean() });
const Rules = z.array(Rule);
const Stored = z.array(z.object({ alert: Alert, version: z.int(), told: z.int(), updatedAt: z.string() }));
const Recorded = z.object({
  results: z.array(z.object({ id: z.string(), applied: z.boolean(), version: z.int() })),
  notices: z.int(),
});

/**
 * Evaluates the rules, by one instance at a time: the holder of a lease. The others show what it stored.
 *
 * While the database is away the holder goes on in memory and writes the outcome when it is back. What was written is
 * never trusted to be its own: every write names the version it saw, so neither a lost answer nor a lost lease can tell
 * anybody twice.
 */
export class AlertEngine {
  /** When rules were last evaluated, by this instance or, as far as it knows, by the holder of the lease. */
  evaluatedAt: string | null = null;
  #options: AlertEngineOptions;
  #clock: Clock;
  #incidents: Incidents;
  #rules: Rule[] = [];
  #followed: Alert[] = [];
  #holding = false;
  #syncedAt: number | null = null;
  #refreshedAt = 0;
  /** A rule was changed here: read them again now. */
  #stale = false;
  /** The lease was out of touch for longer than it lasts, so another instance may have been at work. */
  #doubtful = false;
  #round: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #running = false;

  constructor(options: AlertEngineOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#incidents = new Incidents(this.#clock);
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#schedule(0);
  }

  /** Stops, and gives the lease back so that another instance need not wait for it. */
  async close(): Promise<void> {
    this.#running = false;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#round;
    if (!this.#holding) return;
    this.#holding = false;
    const args = { lease_name: LEASE, holder: this.#options.holder };
    await this.#options.database.call("leases_release", args, z.unknown()).catch(() => {});
  }

  /** Pending, firing and recovering. */
  current(): Alert[] {
    return this.#holding ? this.#incidents.alerts() : this.#followed;
  }

  /** Reads the rules again at once, after one was changed. */
  refresh(): void {
    this.#stale = true;
    if (this.#running && !this.#round) this.#schedule(0);
  }

  /** One round. Never overlaps with another: whoever asks meanwhile gets the one under way. */
  evaluate(): Promise<void> {
    this.#round ??= this.#evaluate().finally(() => {
      this.#round = null;
    });
    return this.#round;
  }

  async #evaluate(): Promise<void> {
    try {
      if (this.#isSyncDue()) await this.#sync();
      if (!this.#holding) return;
      const { pools, topAgents } = this.#options;
      this.#incidents.judge({ rules: this.#rules, pools: pools(), topAgents });
      this.#stamp();
      if (this.#clock.monotonic() - this.#refreshedAt >= REFRESH_MS) {
        this.#incidents.refresh();
        this.#refreshedAt = this.#clock.monotonic();
      }
      if ((await this.#flush()) && this.#doubtful) await this.#reload();
    } catch (error) {
      // Whatever it is, the next round must come; `evaluatedAt` tells how old the last good one is.
      this.#options.log.error({ fault: messageOf(error) }, "alert rules could not be evaluated");
    }
  }

  #isSyncDue(): boolean {
    return (
      this.#stale || !this.#holding || this.#syncedAt === null || this.#clock.monotonic() - this.#syncedAt >= SYNC_MS
    );
  }

  async #sync(): Promise<void> {
    const { database, holder, log } = this.#options;
    this.#stale = false;
    try {
      const args = { lease_name: LEASE, holder, ttl_seconds: LEASE_SECONDS };
      const { held } = await database.call("leases_claim", args, Lease);
      if (held) {
        const rules = await database.call("rules_list", {}, Rules);
        if (!this.#holding) this.#incidents.load(await database.call("alerts_open", {}, Stored));
        this.#rules = rules;
      } else {
        this.#followed = (await database.call("alerts_open", {}, Stored)).map(({ alert }) => alert).reverse();
        this.#stamp();
      }
      const nowMonotonic = this.#clock.monotonic();
      const silentMs = this.#syncedAt === null ? 0 : nowMonotonic - this.#syncedAt;
      this.#doubtful ||= this.#holding && silentMs > LEASE_SECONDS * 1000;
      this.#holding = held;
      this.#syncedAt = nowMonotonic;
    } catch (error) {
      log.warn({ fault: messageOf(error) }, "the database is away; alert rules go on in memory");
    }
  }

  /** Writes what changed. What cannot be written now stays for the next round, and the answer is false. */
  async #flush(): Promise<boolean> {
    const changes = this.#incidents.changes();
    if (changes.length === 0) return true;
    try {
      await this.#record(changes);
      return true;
    } catch (error) {
      if (error instanceof AppError && error.code === "unavailable") {
        this.#options.log.warn({ fault: error.message }, "an alert could not be stored yet; it is tried again");
        return false;
      }
      // One change that the database refuses must not hold up the others, nor be tried for ever.
      for (const change of changes) await this.#recordAlone(change);
      await this.#reload();
      return true;
    }
  }

  async #recordAlone(change: Change): Promise<void> {
    try {
      await this.#record([change]);
    } catch (error) {
      this.#options.log.error({ alert: change.alert.id, fault: messageOf(error) }, "an alert could not be stored");
    }
  }

  async #record(changes: readonly Change[]): Promise<void> {
    const at = new Date(this.#clock.now()).toISOString();
    const transitions = changes.map((change) => this.#incidents.attempt(change, at));
    const { results, notices } = await this.#options.database.call("alerts_record", { transitions }, Recorded);
    if (notices > 0) this.#options.onNotice?.();
    for (const change of changes) {
      const result = results.find(({ id }) => id === change.alert.id);
      if (result?.applied) this.#incidents.confirm(change, result.version);
    }
    if (results.some(({ applied }) => !applied)) await this.#reload();
  }

  /** Somebody else was first, or an earlier answer was lost: the database is right. */
  async #reload(): Promise<void> {
    this.#incidents.load(await this.#options.database.call("alerts_open", {}, Stored));
    this.#doubtful = false;
  }

  #stamp(): void {
    this.evaluatedAt = new Date(this.#clock.now()).toISOString();
  }

  #schedule(delayMs: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      await this.evaluate();
      if (this.#running) this.#schedule(this.#nextDelayMs());
    }, delayMs);
    this.#timer.unref();
  }

  /** Two seconds, or less when a pending time ends before: it fires then, and not at the round after. */
  #nextDelayMs(): number {
    if (this.#stale) return 0;
    const dueMs = this.#holding ? this.#incidents.nextDueMs(this.#rules) : null;
    return dueMs === null ? ROUND_MS : Math.min(ROUND_MS, Math.max(50, dueMs + 1));
  }
}
