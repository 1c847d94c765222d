import { Webhook } from "standardwebhooks";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { createAddressGuard } from "../../lib/alerts/channels/address-guard.ts";
import { anyKind, createChannelKinds } from "../../lib/alerts/channels/registry.ts";
import { createWebhook } from "../../lib/alerts/channels/webhook.ts";
import { replayNotification } from "../../lib/alerts/service/alerts.ts";
import {
  deleteChannel,
  listChannels,
  rotateChannelSecret,
  testChannel,
  updateChannel,
} from "../../lib/alerts/service/channels.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { openWebhookReceiver } from "../support/webhook-receiver.ts";
import { openWorld, type World } from "./world.ts";

const anything = z.unknown();
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

const heard = () => world.receiver.received.map(({ body }) => JSON.parse(body).type as string);
const drain = () => world.alerting.deliverer.drain();
const only = async () => {
  const [notification, ...others] = await world.notifications();
  if (!notification || others.length > 0) throw new Error("expected one notification");
  return notification;
};
const fire = async () => {
  world.setUse(0.87);
  await world.run(12);
};
const resolve = async () => {
  world.setUse(0.2);
  await world.run(126);
};
/** Seconds from the last attempt to the next one. */
const waitOf = async () => {
  const [row] = await world.db.sql(
    "select extract(epoch from next_attempt_at - now())::float8 as s from gateway.notifications",
  );
  return Number(row?.s);
};

describe("a webhook", () => {
  test("is signed so that the Standard Webhooks library verifies it, and says what happened", async () => {
    world.alerting.engine.refresh();
    const now = systemClock.now();
    world.clock.advance(now - world.clock.now());
    const { secret } = await world.addWebhook();
    world.setTopAgents([{ agent: "planner", share: 0.62 }]);
    await fire();
    await drain();
    const [request] = world.receiver.received;
    if (!request || !secret) throw new Error("nothing came");
    const headers = {
      "webhook-id": String(request.headers["webhook-id"]),
      "webhook-timestamp": String(request.headers["webhook-timestamp"]),
      "webhook-signature": String(request.headers["webhook-signature"]),
    };
    expect(new Webhook(secret).verify(request.body, headers)).toMatchObject({
      type: "alert.firing",
      data: {
        ruleName: "Limit at 80 %",
        severity: "warning",
        poolName: "Opus 5",
        limiter: "input_tokens",
        percent: 87,
        utilisation: 0.87,
        used: 1_740_000,
        limit: 2_000_000,
        topAgents: [{ agent: "planner", share: 0.62 }],
        summary: "Opus 5 input tokens/min at acme-prod is at 87% of its limit.",
        url: expect.stringMatching(/^https:\/\/headroom\.example\.com\/alerts\?alert=[0-9a-f-]{36}$/),
      },
    });
    const reserialised = JSON.stringify(JSON.parse(request.body), null, 1);
    expect(() => new Webhook(secret).verify(reserialised, headers)).toThrow();
    expect(request.body.length).toBeLessThan(20_000);
  });

  test("carries both signatures for a day after its secret was changed", async () => {
    const { id, secret: before } = await world.addWebhook();
    const { secret: after } = await rotateChannelSecret(world.alerting, id);
    expect(after).not.toBe(before);
    await testChannel(world.alerting, id);
    const [request] = world.receiver.received;
    const signature = (secret: string | null) =>
      new Webhook(secret ?? "").sign(
        String(request?.headers["webhook-id"]),
        new Date(Number(request?.headers["webhook-timestamp"]) * 1000),
        request?.body ?? "",
      );
    expect(request?.headers["webhook-signature"]).toBe(`${signature(after)} ${signature(before)}`);
    await world.db.sql("update gateway.alert_channels set previous_secret_until = now()");
    await testChannel(world.alerting, id);
    expect(String(world.receiver.received[1]?.headers["webhook-signature"]).split(" ")).toHaveLength(1);
  });

  test("keeps its secret sealed in the database and shows it once", async () => {
    const created = await world.addWebhook();
    expect(created.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const [row] = await world.db.sql("select row_to_json(c)::text as text from gateway.alert_channels c");
    expect(String(row?.text)).not.toContain(created.secret?.slice(6, 20));
    expect(JSON.stringify(await listChannels(world.alerting))).not.toContain("secret");
  });

  test("whose secret was sealed under another key fails with the reason", async () => {
    const { id } = await world.addWebhook();
    const other = world.createInstance({ secretBox: new SecretBox(Buffer.alloc(32, 9)) });
    expect(await testChannel(other, id)).toMatchObject({
      state: "failed",
      lastAnswer: expect.stringContaining("HEADROOM_SECRET_KEY"),
    });
    expect(world.receiver.received).toEqual([]);
  });
});

describe("retries", () => {
  test("a receiver that is down for a moment gets the same id and body, later", async () => {
    await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(503).end("try later"));
    await fire();
    await drain();
    expect(await only()).toMatchObject({ state: "waiting", attempts: 1, lastStatus: 503, lastAnswer: "try later" });
    const wait = await waitOf();
    expect(wait).toBeGreaterThan(2);
    expect(wait).toBeLessThanOrEqual(5.5);
    world.receiver.answerWith((response) => response.writeHead(200).end("thanks"));
    world.clock.advance(7_000);
    await world.skipWaiting();
    await drain();
    expect(await only()).toMatchObject({ state: "delivered", attempts: 2, lastStatus: 200, lastAnswer: "thanks" });
    const [first, second] = world.receiver.received;
    expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
    expect(second?.body).toBe(first?.body);
  });

  test("429 with Retry-After is obeyed", async () => {
    await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(429, { "retry-after": "600" }).end());
    await fire();
    await drain();
    expect(await only()).toMatchObject({ state: "waiting", lastStatus: 429 });
    expect(await waitOf()).toBeGreaterThan(590);
    expect(await waitOf()).toBeLessThanOrEqual(600);
  });

  test.each([408, 429, 500, 502])("%i is tried again", async (status) => {
    await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(status).end());
    await fire();
    await drain();
    expect(await only()).toMatchObject({ state: "waiting", lastStatus: status });
  });

  test.each([400, 401, 404, 422])("%i is not", async (status) => {
    await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(status).end());
    await fire();
    await drain();
    expect(await only()).toMatchObject({ state: "failed", lastStatus: status, nextAttemptAt: null });
  });

  test("a redirect is not followed and not tried again", async () => {
    const elsewhere = await openWebhookReceiver();
    await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(302, { location: elsewhere.url }).end());
    await fire();
    await drain();
    expect(await only()).toMatchObject({
      state: "failed",
      lastStatus: 302,
      lastAnswer: expect.stringMatching(/redirect/i),
    });
    expect(elsewhere.received).toEqual([]);
    await elsewhere.close();
  });

  test("it gives up after a day", async () => {
    await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(500).end());
    await fire();
    await drain();
    await world.db.sql(
      "update gateway.notifications set trying_since = now() - interval '23 hours 59 minutes', attempts = 8",
    );
    await world.skipWaiting();
    await drain();
    expect(await only()).toMatchObject({ state: "failed", attempts: 9 });
  });

  test("no answer in time is tried again, and the answer that came late is not waited for", async () => {
    const guard = createAddressGuard({ allowLoopback: true });
    const kinds = {
      ...createChannelKinds({ guard, mail: null }),
      webhook: anyKind(createWebhook({ guard, timeoutMs: 80 })),
    };
    const impatient = world.createInstance({ kinds });
    await world.addWebhook();
    const held: (() => void)[] = [];
    world.receiver.answerWith((response) => held.push(() => response.writeHead(200).end()));
    await fire();
    await impatient.deliverer.drain();
    for (const answer of held) answer();
    expect(await only()).toMatchObject({
      state: "waiting",
      lastStatus: null,
      lastAnswer: expect.stringMatching(/No answer within/),
    });
    // It may have arrived: should the incident end now, the receiver must hear that too.
    await resolve();
    await drain();
    expect(heard()).toEqual(["alert.firing", "alert.resolved"]);
  });

  test("an endless answer is cut off after its first kilobyte", async () => {
    const { id } = await world.addWebhook();
    let closed: () => void = () => {};
    const hungUp = new Promise<void>((done) => {
      closed = done;
    });
    world.receiver.answerWith((response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write("x".repeat(1_000)), 1);
      response.on("close", () => {
        clearInterval(timer);
        closed();
      });
    });
    const result = await testChannel(world.alerting, id);
    expect(result).toMatchObject({ state: "delivered", lastStatus: 200 });
    expect(result.lastAnswer).toHaveLength(1_024);
    await hungUp;
  });

  test("an unreachable receiver is tried again, and is not told the end of what it never heard", async () => {
    const gone = await openWebhookReceiver();
    await gone.close();
    await world.addWebhook({ url: gone.url });
    await fire();
    await drain();
    expect(await only()).toMatchObject({
      state: "waiting",
      lastStatus: null,
      lastAnswer: expect.stringContaining("ECONNREFUSED"),
    });
    await resolve();
    await drain();
    expect(await only()).toMatchObject({ event: "alert.firing", state: "dropped" });
  });
});

describe("channels that switch themselves off", () => {
  test("410 does, at once, with a reason that is shown", async () => {
    await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(410).end());
    await fire();
    await drain();
    expect(await only()).toMatchObject({ state: "failed", lastStatus: 410 });
    expect(await listChannels(world.alerting)).toMatchObject([
      { enabled: false, disabledReason: "The endpoint answered 410 Gone: it asks not to be called any more." },
    ]);
    await resolve();
    await drain();
    expect(heard()).toEqual(["alert.firing"]);
  });

  test("five events given up in a row do; a delivery in between starts the count over", async () => {
    await world.changeRule({ pendingSeconds: 0, recoverySeconds: 0 });
    const channel = await world.addWebhook();
    const round = async (status: number) => {
      world.receiver.answerWith((response) => response.writeHead(status).end("no such hook"));
      world.setUse(0.9);
      await world.run(0);
      await drain();
      world.setUse(0.1);
      world.clock.advance(2_000);
      await world.run(0);
      await drain();
    };
    for (const status of [404, 404, 404, 404, 200, 404, 404, 404, 404]) await round(status);
    expect(await listChannels(world.alerting)).toMatchObject([{ enabled: true, disabledReason: null }]);
    await round(404);
    const [off] = await listChannels(world.alerting);
    expect(off).toMatchObject({ enabled: false, disabledReason: expect.stringContaining("no such hook") });
    const on = await updateChannel(world.alerting, channel.id, {
      kind: "webhook",
      name: channel.name,
      enabled: true,
      settings: { url: world.receiver.url },
    });
    expect(on).toMatchObject({ enabled: true, disabledReason: null });
  });
});

describe("the outbox", () => {
  test("is worked off by several workers without sending anything twice", async () => {
    for (let i = 0; i < 20; i++) await world.addWebhook({ name: `Channel ${i}` });
    await fire();
    const workers = [world.alerting, world.createInstance(), world.createInstance()];
    await Promise.all(workers.map(({ deliverer }) => deliverer.drain()));
    const ids = world.receiver.received.map(({ headers }) => headers["webhook-id"]);
    expect(ids).toHaveLength(20);
    expect(new Set(ids).size).toBe(20);
  });

  test("a worker that died mid-delivery leaves its notice to another, and the end is told", async () => {
    await world.addWebhook();
    await fire();
    await world.db.database.call("notifications_claim", { holder: "dead", max_rows: 10, lease_seconds: 60 }, anything);
    await drain();
    expect(heard()).toEqual([]);
    await resolve();
    await drain();
    // The firing may be under way still: its end waits.
    expect(heard()).toEqual([]);
    await world.db.sql(
      "update gateway.notifications set lease_until = now() - interval '1 second' where lease_until is not null",
    );
    await drain();
    expect(heard()).toEqual(["alert.resolved"]);
    expect((await world.notifications()).map(({ event, state }) => `${event} ${state}`)).toEqual([
      "alert.resolved delivered",
      "alert.firing dropped",
    ]);
  });

  test("restart mid-delivery: the same notice goes out again under the same id", async () => {
    await world.addWebhook();
    await fire();
    await world.db.database.call("notifications_claim", { holder: "dead", max_rows: 10, lease_seconds: 60 }, anything);
    await world.db.sql("update gateway.notifications set lease_until = now() - interval '1 second'");
    await drain();
    expect(heard()).toEqual(["alert.firing"]);
    expect(await only()).toMatchObject({ state: "delivered", attempts: 2 });
  });

  test("a delivery that could not be recorded is recorded later and not sent again", async () => {
    await world.addWebhook();
    await fire();
    const flaky = world.createFlakyDatabase();
    const instance = world.createInstance({ database: flaky.database });
    world.receiver.answerWith((response) => {
      flaky.setMode("down");
      response.writeHead(200).end();
    });
    await instance.deliverer.drain();
    expect(await only()).toMatchObject({ state: "waiting", attempts: 1 });
    flaky.setMode("up");
    await instance.deliverer.drain();
    expect(await only()).toMatchObject({ state: "delivered", attempts: 1 });
    expect(heard()).toEqual(["alert.firing"]);
  });

  test("an incident that ended before anybody was told is told to nobody", async () => {
    await world.addWebhook();
    await fire();
    await resolve();
    await drain();
    expect(heard()).toEqual([]);
    expect(await only()).toMatchObject({ event: "alert.firing", state: "dropped" });
  });

  test("a channel added while firing hears neither the firing nor its end", async () => {
    await world.addWebhook({ name: "Early" });
    await fire();
    await drain();
    await world.addWebhook({ name: "Late" });
    await resolve();
    await drain();
    expect((await world.notifications()).map(({ channelName }) => channelName)).toEqual(["Early", "Early"]);
  });

  test("a deleted channel hears nothing more and stays in the log", async () => {
    const { id } = await world.addWebhook({ name: "Gone" });
    await fire();
    await deleteChannel(world.alerting, id);
    await drain();
    expect(heard()).toEqual([]);
    expect(await only()).toMatchObject({ channelName: "Gone", state: "dropped" });
    expect(await listChannels(world.alerting)).toEqual([]);
    await expect(deleteChannel(world.alerting, id)).rejects.toMatchObject({ code: "not_found" });
  });

  test("a replay is a new attempt under the same id", async () => {
    await world.addWebhook();
    await fire();
    await drain();
    await resolve();
    await drain();
    const firing = (await world.notifications()).find(({ event }) => event === "alert.firing");
    await replayNotification(world.alerting, firing?.id ?? "");
    await drain();
    expect(heard()).toEqual(["alert.firing", "alert.resolved", "alert.firing"]);
    expect(world.receiver.received[2]?.headers["webhook-id"]).toBe(firing?.id);
  });
});

describe("a test send", () => {
  test("takes the real path, is marked a test, shows the answer and leaves everything else alone", async () => {
    const { id } = await world.addWebhook();
    world.receiver.answerWith((response) =>
      response.writeHead(500).end("broken: token whsec_c2VjcmV0c2VjcmV0 Bearer abcdefghij"),
    );
    for (let i = 0; i < 6; i++) {
      expect(await testChannel(world.alerting, id)).toMatchObject({
        event: "alert.test",
        state: "failed",
        alertId: null,
        lastStatus: 500,
        lastAnswer: "broken: token [redacted] [redacted]",
      });
    }
    expect(new Set(heard())).toEqual(new Set(["alert.test"]));
    expect(await listChannels(world.alerting)).toMatchObject([{ enabled: true, disabledReason: null }]);
  });

  test("does not store a secret that the receiver sends back", async () => {
    const { id, secret } = await world.addWebhook();
    world.receiver.answerWith((response) => response.writeHead(200).end(`your secret is ${secret}\u0000 and \ud83d`));
    const { lastAnswer } = await testChannel(world.alerting, id);
    expect(lastAnswer).toContain("your secret is [redacted]");
    expect(lastAnswer).not.toContain(secret?.slice(8, 24));
  });

  test("reaches a channel that is switched off, and no channel that does not exist", async () => {
    const channel = await world.addWebhook();
    await updateChannel(world.alerting, channel.id, {
      kind: "webhook",
      name: channel.name,
      enabled: false,
      settings: { url: world.receiver.url },
    });
    expect(await testChannel(world.alerting, channel.id)).toMatchObject({ state: "delivered", lastStatus: 204 });
    await expect(testChannel(world.alerting, "0b8f6a2e-6d0a-4f43-9d7e-5f3c0f6f0a0f")).rejects.toMatchObject({
      code: "not_found",
    });
  });
});
