import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { AlertsQuery, ChannelInput, NotificationsQuery, RuleInput } from "../../lib/alerts/schema.ts";
import { getAlert, listAlerts, listNotifications, replayNotification } from "../../lib/alerts/service/alerts.ts";
import {
  createChannel,
  deleteChannel,
  listChannels,
  rotateChannelSecret,
  updateChannel,
} from "../../lib/alerts/service/channels.ts";
import { createRule, deleteRule, listRules, updateRule } from "../../lib/alerts/service/rules.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { openWorld, type World } from "./world.ts";

let db: TestDatabase;
let world: World;
beforeAll(async () => {
  db = await openTestDatabase();
});
afterAll(() => db.close());
beforeEach(async () => {
  world = await openWorld(db);
});
afterEach(() => world.close());

const NOBODY = "0b8f6a2e-6d0a-4f43-9d7e-5f3c0f6f0a0f";

test("a rule is created, changed and deleted", async () => {
  const input = RuleInput.parse({
    name: " Opus output ",
    kind: "utilisation",
    scope: { pool: "opus-5" },
    threshold: 0.95,
  });
  const rule = await createRule(world.alerting, input);
  expect(rule).toMatchObject({ name: "Opus output", threshold: 0.95, scope: { pool: "opus-5" }, channelIds: null });
  const changed = await updateRule(world.alerting, rule.id, { ...input, enabled: false, threshold: 0.9 });
  expect(changed).toMatchObject({ id: rule.id, enabled: false, threshold: 0.9, createdAt: rule.createdAt });
  await deleteRule(world.alerting, rule.id);
  expect((await listRules(world.alerting)).map(({ name }) => name)).toEqual(["Limit at 80 %"]);
});

test("a rule that could never settle, or names a channel that is not there, is refused with the reason", async () => {
  const input = RuleInput.parse({ name: "Low", kind: "utilisation", threshold: 0.5 });
  await expect(createRule(world.alerting, input)).rejects.toMatchObject({
    code: "invalid_input",
    message: expect.stringContaining("recoveryThreshold (0.7) must be below threshold (0.5)"),
  });
  const stray = RuleInput.parse({ name: "Stray", kind: "utilisation", channelIds: [NOBODY] });
  await expect(createRule(world.alerting, stray)).rejects.toMatchObject({
    code: "invalid_input",
    message: expect.stringContaining("channel that does not exist"),
  });
});

test("what does not exist is not found", async () => {
  const rule = RuleInput.parse({ name: "Any", kind: "utilisation" });
  const channel = ChannelInput.parse({ kind: "webhook", name: "Any", settings: { url: world.receiver.url } });
  for (const attempt of [
    updateRule(world.alerting, NOBODY, rule),
    deleteRule(world.alerting, NOBODY),
    updateChannel(world.alerting, NOBODY, channel),
    deleteChannel(world.alerting, NOBODY),
    rotateChannelSecret(world.alerting, NOBODY),
    getAlert(world.alerting, NOBODY),
    replayNotification(world.alerting, NOBODY),
  ]) {
    await expect(attempt).rejects.toMatchObject({ code: "not_found" });
  }
});

test("a webhook to a private address is refused when it is saved", async () => {
  const guarded = world.createInstance({ allowLoopback: false });
  for (const url of ["http://127.0.0.1:9093/", "http://169.254.169.254/latest/meta-data", "http://[::1]/"]) {
    const input = ChannelInput.parse({ kind: "webhook", name: "Inside", settings: { url } });
    await expect(createChannel(guarded, input)).rejects.toMatchObject({
      code: "invalid_input",
      message: expect.stringContaining("WEBHOOK_ALLOWED_CIDRS"),
    });
  }
  expect(await listChannels(world.alerting)).toEqual([]);
});

test("changing a channel keeps its secret, and its kind cannot change", async () => {
  const { id } = await world.addWebhook();
  const secretOf = () => world.db.sql("select secret from gateway.alert_channels");
  const before = await secretOf();
  const input = ChannelInput.parse({ kind: "webhook", name: "Renamed", settings: { url: world.receiver.url } });
  expect(await updateChannel(world.alerting, id, input)).toMatchObject({ id, name: "Renamed" });
  expect(await secretOf()).toEqual(before);
  const mail = ChannelInput.parse({ kind: "email", name: "Mail", settings: { to: ["a@example.com"] } });
  await expect(updateChannel(world.alerting, id, mail)).rejects.toMatchObject({ code: "not_found" });
});

test("a rule whose only channel is deleted tells nobody, rather than suddenly everybody", async () => {
  const chosen = await world.addWebhook({ name: "Chosen" });
  await world.addWebhook({ name: "Other" });
  await world.changeRule({ channelIds: [chosen.id] });
  await deleteChannel(world.alerting, chosen.id);
  expect((await listRules(world.alerting))[0]?.channelIds).toEqual([]);
  world.setUse(0.9);
  await world.run(12);
  expect(world.alerting.engine.current()).toMatchObject([{ state: "firing" }]);
  expect(await world.notifications()).toEqual([]);
});

test("alerts and notifications are listed newest first, page by page, by what they are", async () => {
  await world.addWebhook();
  await world.changeRule({ pendingSeconds: 0, recoverySeconds: 0 });
  for (let i = 0; i < 5; i++) {
    world.setUse(0.9);
    await world.run(0);
    await world.alerting.deliverer.drain();
    world.clock.advance(2_000);
    world.setUse(i === 4 ? 0.85 : 0.1);
    await world.run(0);
    await world.alerting.deliverer.drain();
    world.clock.advance(2_000);
  }
  const first = await listAlerts(world.alerting, AlertsQuery.parse({ limit: 3 }));
  const second = await listAlerts(
    world.alerting,
    AlertsQuery.parse({ limit: 3, cursor: first.nextCursor ?? undefined }),
  );
  const all = [...first.alerts, ...second.alerts];
  expect(all.map(({ state }) => state)).toEqual(["firing", "resolved", "resolved", "resolved", "resolved"]);
  expect(new Set(all.map(({ id }) => id)).size).toBe(5);
  expect(second.nextCursor).toBeNull();
  expect((await listAlerts(world.alerting, AlertsQuery.parse({ state: "firing" }))).alerts).toHaveLength(1);
  expect((await listAlerts(world.alerting, AlertsQuery.parse({ upstream: "other" }))).alerts).toEqual([]);
  const since = all[1]?.resolvedAt ?? "";
  expect((await listAlerts(world.alerting, AlertsQuery.parse({ from: since }))).alerts).toHaveLength(2);
  expect(await getAlert(world.alerting, all[0]?.id ?? "")).toEqual(all[0]);

  const log = await listNotifications(world.alerting, NotificationsQuery.parse({ limit: 5 }));
  const rest = await listNotifications(
    world.alerting,
    NotificationsQuery.parse({ limit: 5, cursor: log.nextCursor ?? undefined }),
  );
  expect([...log.notifications, ...rest.notifications].map(({ event }) => event)).toEqual([
    "alert.firing",
    ...Array.from({ length: 4 }, () => ["alert.resolved", "alert.firing"]).flat(),
  ]);
  const one = await listNotifications(world.alerting, NotificationsQuery.parse({ alert: all[1]?.id }));
  expect(one.notifications).toHaveLength(2);
});

test("no role but the service's may call any of it", async () => {
  const rows = await world.db.sql(`
    select p.proname from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname ~ '^(rules|channels|alerts|notifications)_'
      and (has_function_privilege('anon', p.oid, 'execute') or has_function_privilege('authenticated', p.oid, 'execute')
           or not has_function_privilege('service_role', p.oid, 'execute') or not p.prosecdef)`);
  expect(rows).toEqual([]);
  const bare = await world.db.sql(`
    select c.relname from pg_class c where c.relnamespace = 'gateway'::regnamespace and c.relkind = 'r' and not c.relrowsecurity`);
  expect(bare).toEqual([]);
});
