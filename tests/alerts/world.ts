import { type Alerting, type AlertingOptions, createAlerting } from "../../lib/alerts/alerting.ts";
import type { CreatedChannel, Notification, Rule, RuleInput } from "../../lib/alerts/schema.ts";
import { listNotifications } from "../../lib/alerts/service/alerts.ts";
import { createChannel } from "../../lib/alerts/service/channels.ts";
import { listRules, updateRule } from "../../lib/alerts/service/rules.ts";
import type { Database } from "../../lib/database/database.ts";
import { ManualClock } from "../../lib/kit/clock.ts";
import { AppError } from "../../lib/kit/errors.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import type { PoolState } from "../../lib/limits/schema.ts";
import type { TestDatabase } from "../support/database.ts";
import { type Mailbox, openMailbox } from "../support/smtp.ts";
import { openWebhookReceiver, type WebhookReceiver } from "../support/webhook-receiver.ts";
import { poolAt } from "./factories.ts";

/** Alerting over a real database, a real webhook receiver and a real SMTP server, in time that moves when told. */
export type World = {
  db: TestDatabase;
  receiver: WebhookReceiver;
  mailbox: Mailbox;
  clock: ManualClock;
  alerting: Alerting;
  /** What the gateway sees. */
  setPools(pools: PoolState[]): void;
  setUse(utilisation: number, patch?: Parameters<typeof poolAt>[1]): void;
  setTopAgents(agents: { agent: string; share: number }[]): void;
  /** Another instance on the same database. */
  createInstance(patch?: Partial<AlertingOptions>): Alerting;
  /** A database that can be taken away. */
  createFlakyDatabase(): { database: Database; setMode(mode: "up" | "down" | "answers lost"): void };
  /** Evaluation rounds two seconds apart for as long as given; at least one. */
  run(seconds: number, alerting?: Alerting): Promise<void>;
  addWebhook(patch?: { name?: string; url?: string }): Promise<CreatedChannel>;
  changeRule(patch: Partial<RuleInput>): Promise<Rule>;
  notifications(): Promise<Notification[]>;
  /** Makes what waits for a later attempt due now. */
  skipWaiting(): Promise<void>;
  close(): Promise<void>;
};

/** A world of its own on a database that the tests of one file share: what the one before left is wiped first. */
export async function openWorld(db: TestDatabase): Promise<World> {
  await reset(db);
  const receiver = await openWebhookReceiver();
  const mailbox = await openMailbox();
  const clock = new ManualClock();
  const secretBox = new SecretBox(Buffer.alloc(32, 7));
  let pools: PoolState[] = [poolAt(0)];
  let topAgents: { agent: string; share: number }[] = [];
  const instances: Alerting[] = [];

  const createInstance = (patch: Partial<AlertingOptions> = {}) => {
    const instance = createAlerting({
      database: db.database,
      secretBox,
      log: silentLog,
      publicUrl: "https://headroom.example.com/",
      mail: { smtpUrl: mailbox.url, from: "Headroom <alerts@example.com>" },
      allowLoopback: true,
      clock,
      pools: () => pools,
      topAgents: () => topAgents,
      ...patch,
    });
    instances.push(instance);
    return instance;
  };
  const alerting = createInstance();

  return {
    db,
    receiver,
    mailbox,
    clock,
    alerting,
    createInstance,
    setPools(next) {
      pools = next;
    },
    setUse(utilisation, patch) {
      pools = [poolAt(utilisation, patch)];
    },
    setTopAgents(agents) {
      topAgents = agents;
    },
    createFlakyDatabase() {
      let mode: "up" | "down" | "answers lost" = "up";
      return {
        setMode: (next) => {
          mode = next;
        },
        database: {
          async call(name, args, answer) {
            if (mode === "down") throw new AppError("unavailable", "connection refused");
            const result = await db.database.call(name, args, answer);
            if (mode === "answers lost") throw new AppError("unavailable", "the connection was reset");
            return result;
          },
        },
      };
    },
    async run(seconds, instance = alerting) {
      await instance.engine.evaluate();
      for (let passed = 0; passed < seconds; passed += 2) {
        clock.advance(2_000);
        await instance.engine.evaluate();
      }
    },
    addWebhook: (patch = {}) =>
      createChannel(alerting, {
        kind: "webhook",
        name: patch.name ?? "On call",
        enabled: true,
        settings: { url: patch.url ?? receiver.url },
      }),
    async changeRule(patch) {
      const [rule] = await listRules(alerting);
      if (!rule) throw new Error("no rule to change");
      return updateRule(alerting, rule.id, { ...rule, ...patch });
    },
    notifications: async () => (await listNotifications(alerting, { limit: 200 })).notifications,
    async skipWaiting() {
      await db.sql("update gateway.notifications set next_attempt_at = now() where state = 'waiting'");
    },
    async close() {
      for (const instance of instances) await instance.close();
      await receiver.close();
      await mailbox.close();
    },
  };
}

/** The rules as the migrations left them, by database. */
const seeds = new WeakMap<TestDatabase, string>();

async function reset(db: TestDatabase): Promise<void> {
  const [row] = await db.sql("select coalesce(jsonb_agg(to_jsonb(r)), '[]')::text as rules from gateway.alert_rules r");
  const seed = seeds.get(db) ?? String(row?.rules);
  seeds.set(db, seed);
  await db.sql(
    "truncate gateway.notifications, gateway.alerts, gateway.alert_channels, gateway.alert_rules, gateway.leases",
  );
  await db.sql(
    "insert into gateway.alert_rules select * from jsonb_populate_recordset(null::gateway.alert_rules, $1::jsonb)",
    [seed],
  );
}
