import { z } from "zod";
import type { Database } from "../database/database.ts";
import { AppError, messageOf } from "../kit/errors.ts";
import type { Log } from "../kit/log.ts";
import type { SecretBox } from "../kit/secret-box.ts";
import { type Attempt, failed, type Notice } from "./channels/channel.ts";
import type { ChannelKinds } from "./channels/registry.ts";
import { tidyAnswer } from "./redact.ts";
import { retryDelay } from "./retry.ts";
import { Alert, AlertEvent, AlertState, Notification } from "./schema.ts";

export type DelivererOptions = {
  database: Database;
  kinds: ChannelKinds;
  secretBox: SecretBox;
  log: Log;
  /** Names this process among the workers that share the outbox. */
  holder: string;
  /** Where readers find the dashboard, without a slash at the end. */
  publicUrl: string;
  random?: () => number;
};

/** What channels' secrets are sealed for. */
export const CHANNEL_SECRET = "channel";

/** Well above an attempt's time-out, so that a lease runs out only when its worker is dead. */
const LEASE_SECONDS = 60;
const MAX_IN_FLIGHT = 32;
const POLL_MS = 5_000;

const Claim = z.object({
  id: z.uuid(),
  event: AlertEvent,
  eventNumber: z.int(),
  attempts: z.int(),
  replayed: z.boolean(),
  createdAt: z.string(),
  ageSeconds: z.number(),
  alert: Alert.nullable(),
  alertState: AlertState.nullable(),
  firingTold: z.boolean(),
  channel: z.object({
    id: z.uuid(),
    kind: z.enum(["webhook", "email"]),
    name: z.string(),
    settings: z.unknown(),
    secret: z.string().nullable(),
    previousSecret: z.string().nullable(),
  }),
});
type Claim = z.infer<typeof Claim>;

const Claims = z.object({ claims: z.array(Claim), nextInSeconds: z.number().nullable() });
const Finished = z.object({ recorded: z.boolean(), disabledReason: z.string().nullable() });

type Result = {
  outcome: "delivered" | "retry" | "failed" | "dropped";
  status?: number | null;
  latencyMs?: number;
  answer?: string;
  retryInSeconds?: number;
  uncertain?: boolean;
  disableReason?: string | null;
};

/**
 * Who has not been told? Works the outbox off: claims notices that are due, sends them, records how that went. Every
 * instance runs one; a notice belongs to one worker at a time. At least once, under one id: a receiver that sees an id
 * twice knows it.
 */
export class Deliverer {
  #options: DelivererOptions;
  #random: () => number;
  #inFlight = new Map<string, Promise<void>>();
  /** Sent, but not recorded because the database was away: recorded before anything else, never sent again. */
  #unrecorded = new Map<string, Result>();
  #timer: NodeJS.Timeout | null = null;
  #pass: Promise<number> | null = null;
  #isWoken = false;
  #running = false;

  constructor(options: DelivererOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#schedule(0);
  }

  /** Looks at the outbox at once, because something was put in it. */
  wake(): void {
    this.#isWoken = true;
    if (this.#running && !this.#pass) this.#schedule(0);
  }

  /** Stops claiming and lets what is under way end. */
  async close(): Promise<void> {
    this.#running = false;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#pass;
    await Promise.all(this.#inFlight.values());
  }

  /** Sends everything that is due now and waits until it has been recorded. */
  async drain(): Promise<void> {
    do {
      await this.#claim();
      await Promise.all(this.#inFlight.values());
    } while (this.#isWoken);
  }

  /**
   * Sends a test over the real path, once, and answers with how it went. Incidents and the count of failures are left
   * alone. Throws `not_found` when there is no such channel.
   */
  async test(channelId: string): Promise<Notification> {
    const { database, holder } = this.#options;
    const args = { channel_id: channelId, holder, lease_seconds: LEASE_SECONDS };
    const claim = await database.call("notifications_test", args, Claim.nullable());
    if (!claim) throw new AppError("not_found", "There is no such channel.");
    await this.#deliver(claim);
    return database.call("notifications_get", { notification_id: claim.id }, Notification);
  }

  /** One pass over the outbox: starts what is due. Milliseconds until the next one is worth it. */
  #claim(): Promise<number> {
    this.#pass ??= this.#claimDue().finally(() => {
      this.#pass = null;
    });
    return this.#pass;
  }

  async #claimDue(): Promise<number> {
    const { database, holder, log } = this.#options;
    this.#isWoken = false;
    try {
      for (const [id, result] of this.#unrecorded) await this.#recordAgain(id, result);
      for (;;) {
        const room = MAX_IN_FLIGHT - this.#inFlight.size;
        if (room <= 0) return POLL_MS;
        const args = { holder, max_rows: room, lease_seconds: LEASE_SECONDS };
        const { claims, nextInSeconds } = await database.call("notifications_claim", args, Claims);
        for (const claim of claims) this.#launch(claim);
        if (claims.length === 0) return Math.min(POLL_MS, Math.max(50, (nextInSeconds ?? POLL_MS) * 1000));
      }
    } catch (error) {
      log.warn({ fault: messageOf(error) }, "the alert outbox could not be read; it is tried again");
      return POLL_MS;
    }
  }

  #launch(claim: Claim): void {
    const delivery = this.#deliver(claim).finally(() => {
      this.#inFlight.delete(claim.id);
      // A resolve may have waited for this firing, or for room.
      this.wake();
    });
    this.#inFlight.set(claim.id, delivery);
  }

  async #deliver(claim: Claim): Promise<void> {
    const result =
      this.#unrecorded.get(claim.id) ?? (isMoot(claim) ? { outcome: "dropped" as const } : await this.#send(claim));
    try {
      await this.#record(claim.id, result);
    } catch (error) {
      this.#unrecorded.set(claim.id, result);
      this.#options.log.warn(
        { notification: claim.id, fault: messageOf(error) },
        "a delivery could not be recorded yet",
      );
    }
  }

  async #send(claim: Claim): Promise<Result> {
    const { kinds, log } = this.#options;
    const started = performance.now();
    let secrets: string[] = [];
    let attempt: Attempt;
    try {
      secrets = this.#openSecrets(claim);
      const target = { settings: claim.channel.settings, secrets };
      attempt = await kinds[claim.channel.kind].send(this.#notice(claim), target);
    } catch (error) {
      attempt = failed(messageOf(error));
    }
    const latencyMs = Math.round(performance.now() - started);
    if (attempt.outcome === "failed") {
      log.warn(
        { notification: claim.id, status: attempt.status, attempt: claim.attempts },
        "an alert was not delivered",
      );
    }
    const answer = tidyAnswer(attempt.answer, secrets);
    return { status: attempt.status, latencyMs, answer, ...this.#judge(claim, attempt) };
  }

  #judge(claim: Claim, attempt: Attempt): Result {
    if (attempt.outcome === "delivered") return { outcome: "delivered" };
    const { uncertain, disableReason, retryAfterSeconds } = attempt;
    const delay =
      attempt.permanent || claim.event === "alert.test"
        ? null
        : retryDelay({ ...claim, retryAfterSeconds, random: this.#random() });
    return delay === null
      ? { outcome: "failed", uncertain, disableReason }
      : { outcome: "retry", retryInSeconds: delay, uncertain };
  }

  #openSecrets({ channel }: Claim): string[] {
    const sealed = [channel.secret, channel.previousSecret].filter((secret) => secret !== null);
    try {
      return sealed.map((secret) => this.#options.secretBox.open(secret, CHANNEL_SECRET));
    } catch (cause) {
      const message =
        "The channel's secret was sealed under another HEADROOM_SECRET_KEY: restore that key, or delete the channel and add it again.";
      throw new AppError("misconfigured", message, { cause });
    }
  }

  #notice(claim: Claim): Notice {
    const { publicUrl } = this.#options;
    return {
      id: claim.id,
      event: claim.event,
      eventNumber: claim.eventNumber,
      createdAt: claim.createdAt,
      alert: claim.alert,
      channelName: claim.channel.name,
      url: claim.alert ? `${publicUrl}/alerts?alert=${claim.alert.id}` : `${publicUrl}/alerts`,
    };
  }

  async #record(id: string, result: Result): Promise<void> {
    const args = { notification_id: id, holder: this.#options.holder, result };
    const { disabledReason } = await this.#options.database.call("notifications_finish", args, Finished);
    this.#unrecorded.delete(id);
    if (disabledReason)
      this.#options.log.warn({ notification: id, reason: disabledReason }, "a channel was switched off");
  }

  /** Waits on while the database is away; gives up a record that it refuses, which the lease then settles. */
  async #recordAgain(id: string, result: Result): Promise<void> {
    try {
      await this.#record(id, result);
    } catch (error) {
      if (error instanceof AppError && error.code === "unavailable") throw error;
      this.#unrecorded.delete(id);
      this.#options.log.error({ notification: id, fault: messageOf(error) }, "a delivery could not be recorded");
    }
  }

  #schedule(delayMs: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      const nextMs = await this.#claim();
      if (this.#running) this.#schedule(this.#isWoken ? 0 : nextMs);
    }, delayMs);
    this.#timer.unref();
  }
}

/** Whether nobody needs to hear it any more: it fired and ended untold, or it ended and nobody heard that it fired. */
function isMoot(claim: Claim): boolean {
  if (claim.replayed || claim.event === "alert.test") return false;
  return claim.event === "alert.resolved" ? !claim.firingTold : claim.alertState === "resolved";
}
