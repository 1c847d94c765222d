import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AlertEngine } from "../../lib/alerts/engine.ts";
import { listAlerts } from "../../lib/alerts/service/alerts.ts";
import { createRule, deleteRule, listRules } from "../../lib/alerts/service/rules.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { poolAt } from "./factories.ts";
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

/** What the receiver heard, as event types in order. */
const heard = () => world.receiver.received.map(({ body }) => JSON.parse(body).type as string);
const stored = async () => (await listAlerts(world.alerting, { limit: 200 })).alerts;
const expireLease = () => world.db.sql("update gateway.leases set held_until = now() - interval '1 second'");

describe("one incident, from the rule to the receiver", () => {
  test("the database comes with one rule, and does not bring it back once deleted", async () => {
    const [rule, ...others] = await listRules(world.alerting);
    expect(others).toEqual([]);
    expect(rule).toMatchObject({
      name: "Limit at 80 %",
      threshold: 0.8,
      severity: "warning",
      pendingSeconds: 10,
      recoveryThreshold: 0.7,
      recoverySeconds: 120,
      scope: {},
      channelIds: null,
    });
    await deleteRule(world.alerting, rule?.id ?? "");
    expect(await listRules(world.alerting)).toEqual([]);
  });

  test("1,000 calls above the line give one notice", async () => {
    await world.addWebhook();
    world.setUse(0.87);
    for (let i = 0; i < 1_000; i++) {
      world.clock.advance(20);
      await world.alerting.engine.evaluate();
    }
    await world.alerting.deliverer.drain();
    expect(heard()).toEqual(["alert.firing"]);
    expect(await world.notifications()).toHaveLength(1);
  });

  test("it fires after ten seconds, recovers, resolves after two minutes, and fires again when crossed again", async () => {
    await world.addWebhook();
    world.setTopAgents([
      { agent: "planner", share: 0.62 },
      { agent: "coder", share: 0.2 },
      { agent: "tester", share: 0.1 },
      { agent: "rest", share: 0.08 },
    ]);
    world.setUse(0.87);
    await world.run(8);
    expect(world.alerting.engine.current()[0]?.state).toBe("pending");
    await world.run(2);
    expect(world.alerting.engine.current()[0]).toMatchObject({
      state: "firing",
      utilisation: 0.87,
      limitSource: "header",
      topAgents: [{ agent: "planner" }, { agent: "coder" }, { agent: "tester" }],
    });
    await world.alerting.deliverer.drain();
    world.setUse(0.4);
    await world.run(118);
    expect(world.alerting.engine.current()[0]?.state).toBe("recovering");
    await world.run(6);
    expect(world.alerting.engine.current()).toEqual([]);
    await world.alerting.deliverer.drain();
    expect(heard()).toEqual(["alert.firing", "alert.resolved"]);

    world.setUse(0.9);
    await world.run(12);
    await world.alerting.deliverer.drain();
    expect(heard()).toEqual(["alert.firing", "alert.resolved", "alert.firing"]);
    const [second, first] = await stored();
    expect(second).toMatchObject({ state: "firing" });
    expect(first).toMatchObject({ state: "resolved", resolvedReason: "recovered", peakUtilisation: 0.87 });
    expect(second?.id).not.toBe(first?.id);
  });

  test("idle traffic never alerts and nothing says OK out of nowhere", async () => {
    await world.addWebhook();
    world.setUse(0, { state: "idle" });
    await world.run(60);
    world.setUse(0.5);
    await world.run(60);
    await world.alerting.deliverer.drain();
    expect(heard()).toEqual([]);
    expect(await world.db.sql("select 1 from gateway.alerts")).toEqual([]);
  });

  test("a pending incident that goes away leaves no trace", async () => {
    world.setUse(0.87);
    await world.run(4);
    expect(await world.db.sql("select state from gateway.alerts")).toEqual([{ state: "pending" }]);
    world.setUse(0.6);
    await world.run(2);
    expect(await world.db.sql("select state from gateway.alerts")).toEqual([]);
  });

  test("every limiter above the line is told, each once", async () => {
    await world.addWebhook();
    world.setPools(
      ["acme-prod", "acme-lab", "acme-eval"].map((upstream) =>
        poolAt(0.9, { upstream, key: `${upstream}/opus-5/standard` }),
      ),
    );
    await world.run(20);
    await world.alerting.deliverer.drain();
    const upstreams = world.receiver.received.map(({ body }) => JSON.parse(body).data.upstream);
    expect(upstreams.sort()).toEqual(["acme-eval", "acme-lab", "acme-prod"]);
  });

  test("several rules at one limiter are incidents of their own", async () => {
    await world.addWebhook();
    const [rule] = await listRules(world.alerting);
    if (!rule) throw new Error("no rule");
    await createRule(world.alerting, { ...rule, name: "Limit at 95 %", severity: "critical", threshold: 0.95 });
    world.setUse(0.97);
    await world.run(20);
    await world.alerting.deliverer.drain();
    const severities = world.receiver.received.map(({ body }) => JSON.parse(body).data.severity);
    expect(severities.sort()).toEqual(["critical", "warning"]);
  });

  test("a rule tells the channels it names and no others", async () => {
    const chosen = await world.addWebhook({ name: "Chosen" });
    await world.addWebhook({ name: "Other" });
    await world.changeRule({ channelIds: [chosen.id] });
    world.setUse(0.9);
    await world.run(12);
    expect((await world.notifications()).map(({ channelName }) => channelName)).toEqual(["Chosen"]);
  });
});

describe("rules that change under an incident", () => {
  const fire = async () => {
    await world.addWebhook();
    world.setUse(0.9);
    await world.run(12);
    await world.alerting.deliverer.drain();
    expect(heard()).toEqual(["alert.firing"]);
  };

  test.each([
    ["deleted", "rule_deleted"],
    ["disabled", "rule_disabled"],
    ["pointed elsewhere", "rule_changed"],
  ] as const)("a rule %s while firing closes the incident and says so", async (how, reason) => {
    await fire();
    const [rule] = await listRules(world.alerting);
    if (how === "deleted") await deleteRule(world.alerting, rule?.id ?? "");
    if (how === "disabled") await world.changeRule({ enabled: false });
    if (how === "pointed elsewhere") await world.changeRule({ scope: { limiter: "requests" } });
    await world.run(2);
    await world.alerting.deliverer.drain();
    expect(heard()).toEqual(["alert.firing", "alert.resolved"]);
    expect((await stored())[0]).toMatchObject({ state: "resolved", resolvedReason: reason });
    expect(JSON.parse(world.receiver.received[1]?.body ?? "").data.summary).toMatch(/was closed, because/);
  });

  test("a raised threshold lets it recover", async () => {
    await fire();
    await world.changeRule({ threshold: 0.98, recoveryThreshold: 0.95 });
    await world.run(2);
    expect(world.alerting.engine.current()[0]).toMatchObject({ state: "recovering", threshold: 0.98 });
  });

  test("a limiter that is not reported any more keeps its incident, and closes it after ten minutes", async () => {
    await fire();
    world.setPools([]);
    await world.run(590);
    expect(world.alerting.engine.current()[0]?.state).toBe("firing");
    await world.run(20);
    expect((await stored())[0]).toMatchObject({ state: "resolved", resolvedReason: "limiter_gone" });
  });
});

describe("restart", () => {
  test("while pending: the time already held counts, and one notice is sent", async () => {
    await world.addWebhook();
    world.setUse(0.9);
    await world.run(6);
    await world.alerting.close();
    const next = world.createInstance();
    world.clock.advance(3_000);
    await world.run(2, next);
    expect(next.engine.current()[0]).toMatchObject({ state: "firing" });
    await next.deliverer.drain();
    expect(heard()).toEqual(["alert.firing"]);
  });

  test("a pending incident from long ago starts over", async () => {
    world.setUse(0.9);
    await world.run(6);
    await world.alerting.close();
    world.clock.advance(3 * 24 * 3600 * 1000);
    const next = world.createInstance();
    await world.run(8, next);
    expect(next.engine.current()[0]).toMatchObject({ state: "pending" });
    await world.run(2, next);
    expect(next.engine.current()[0]).toMatchObject({ state: "firing" });
  });

  test("while firing: neither a second notice nor a lost resolve", async () => {
    await world.addWebhook();
    world.setUse(0.9);
    await world.run(12);
    await world.alerting.deliverer.drain();
    await world.alerting.close();
    const next = world.createInstance();
    await world.run(30, next);
    expect(next.engine.current()[0]).toMatchObject({ state: "firing", peakUtilisation: 0.9 });
    world.setUse(0.3);
    await world.run(130, next);
    await next.deliverer.drain();
    expect(heard()).toEqual(["alert.firing", "alert.resolved"]);
  });

  test("with a notice written and not sent: the next process sends it", async () => {
    await world.addWebhook();
    world.setUse(0.9);
    await world.run(12);
    await world.alerting.close();
    const next = world.createInstance();
    await next.deliverer.drain();
    expect(heard()).toEqual(["alert.firing"]);
  });
});

describe("several instances on one database", () => {
  test("one evaluates, the other shows the same, and there is one notice", async () => {
    await world.addWebhook();
    const other = world.createInstance();
    world.setUse(0.9);
    for (let i = 0; i < 10; i++) {
      await Promise.all([world.alerting.engine.evaluate(), other.engine.evaluate()]);
      world.clock.advance(2_000);
    }
    await other.engine.evaluate();
    expect(other.engine.current()).toMatchObject([{ state: "firing", id: world.alerting.engine.current()[0]?.id }]);
    expect(other.engine.evaluatedAt).not.toBeNull();
    await Promise.all([world.alerting.deliverer.drain(), other.deliverer.drain()]);
    expect(heard()).toEqual(["alert.firing"]);
  });

  test("two that both believe to hold the lease still give one notice per change", async () => {
    await world.addWebhook();
    const others = [world.createInstance(), world.createInstance()];
    const all = [world.alerting, ...others];
    world.setUse(0.9);
    const round = async () => {
      for (const instance of all) {
        await expireLease();
        instance.engine.refresh();
        await instance.engine.evaluate();
      }
      await Promise.all(all.map((instance) => instance.engine.evaluate()));
      await Promise.all(all.map((instance) => instance.deliverer.drain()));
      world.clock.advance(2_000);
    };
    for (let i = 0; i < 10; i++) await round();
    expect(heard()).toEqual(["alert.firing"]);
    world.setUse(0.2);
    for (let i = 0; i < 130; i++) await round();
    expect(heard()).toEqual(["alert.firing", "alert.resolved"]);
    expect(await world.notifications()).toHaveLength(2);
    expect(await stored()).toHaveLength(1);
  });

  test("when the holder dies another takes over where it left off", async () => {
    await world.addWebhook();
    world.setUse(0.9);
    await world.run(12);
    const other = world.createInstance();
    await other.engine.evaluate();
    await expireLease();
    world.setUse(0.2);
    await world.run(130, other);
    await other.deliverer.drain();
    expect(heard()).toEqual([]);
    expect((await stored())[0]).toMatchObject({ state: "resolved" });
    // The notices were never sent, so both were dropped: nobody hears the end of what they never heard of.
    expect((await world.notifications()).map(({ state }) => state)).toEqual(["dropped"]);
  });
});

describe("the database away", () => {
  test("evaluation goes on in memory, and what fired is written and told once when it is back", async () => {
    await world.addWebhook();
    await world.alerting.close();
    const flaky = world.createFlakyDatabase();
    const instance = world.createInstance({ database: flaky.database });
    await instance.engine.evaluate();
    flaky.setMode("down");
    world.setUse(0.9);
    await world.run(40, instance);
    expect(instance.engine.current()[0]).toMatchObject({ state: "firing" });
    expect(await world.notifications()).toEqual([]);
    flaky.setMode("up");
    await world.run(20, instance);
    await instance.deliverer.drain();
    expect(heard()).toEqual(["alert.firing"]);
    expect(await world.db.sql("select state, version from gateway.alerts")).toMatchObject([{ state: "firing" }]);
  });

  test("an incident that came and went meanwhile is stored and told to nobody", async () => {
    await world.addWebhook();
    await world.alerting.close();
    const flaky = world.createFlakyDatabase();
    const instance = world.createInstance({ database: flaky.database });
    await instance.engine.evaluate();
    flaky.setMode("down");
    world.setUse(0.9);
    await world.run(20, instance);
    world.setUse(0.1);
    await world.run(130, instance);
    flaky.setMode("up");
    await world.run(6, instance);
    await instance.deliverer.drain();
    expect(heard()).toEqual([]);
    expect(await stored()).toMatchObject([{ state: "resolved", peakUtilisation: 0.9 }]);
  });

  test("a pending incident that came and went meanwhile leaves nothing", async () => {
    await world.alerting.close();
    const flaky = world.createFlakyDatabase();
    const instance = world.createInstance({ database: flaky.database });
    await instance.engine.evaluate();
    flaky.setMode("down");
    world.setUse(0.9);
    await world.run(4, instance);
    world.setUse(0.1);
    await world.run(4, instance);
    flaky.setMode("up");
    await world.run(10, instance);
    expect(instance.engine.current()).toEqual([]);
    expect(await world.db.sql("select 1 from gateway.alerts")).toEqual([]);
  });

  test("an answer lost on its way doubles nothing", async () => {
    await world.addWebhook();
    await world.alerting.close();
    const flaky = world.createFlakyDatabase();
    const instance = world.createInstance({ database: flaky.database });
    world.setUse(0.9);
    await world.run(8, instance);
    flaky.setMode("answers lost");
    await world.run(8, instance);
    flaky.setMode("up");
    await world.run(8, instance);
    flaky.setMode("answers lost");
    world.setUse(0.1);
    await world.run(60, instance);
    flaky.setMode("up");
    await world.run(130, instance);
    await instance.deliverer.drain();
    const rows = await world.db.sql(
      "select event, count(*)::int as n from gateway.notifications group by 1 order by 1",
    );
    expect(rows).toEqual([{ event: "alert.firing", n: 1 }]);
    expect(await stored()).toMatchObject([{ state: "resolved" }]);
  });
});

describe("time", () => {
  test("a wall clock moved back neither fires early, nor late, nor twice", async () => {
    await world.addWebhook();
    let wallMs = world.clock.now();
    let monotonicMs = 0;
    const engine = new AlertEngine({
      database: world.db.database,
      log: silentLog,
      holder: "skewed",
      pools: () => [poolAt(0.9)],
      topAgents: () => [],
      clock: { now: () => wallMs, monotonic: () => monotonicMs },
    });
    const rounds = async (count: number) => {
      for (let i = 0; i < count; i++) {
        await engine.evaluate();
        wallMs += 2_000;
        monotonicMs += 2_000;
      }
    };
    await rounds(3);
    wallMs -= 3_600_000;
    await rounds(2);
    expect(engine.current()[0]?.state).toBe("pending");
    await rounds(1);
    expect(engine.current()[0]?.state).toBe("firing");
    wallMs -= 86_400_000;
    await rounds(50);
    expect(engine.current()[0]?.state).toBe("firing");
    expect(await world.notifications()).toHaveLength(1);
    await engine.close();
  });

  test("evaluatedAt is the time of the last round, and does not move while rounds fail", async () => {
    const { engine } = world.alerting;
    expect(engine.evaluatedAt).toBeNull();
    await engine.evaluate();
    const at = new Date(world.clock.now()).toISOString();
    expect(engine.evaluatedAt).toBe(at);
    const broken = world.createInstance({
      pools: () => {
        throw new Error("no figures");
      },
    });
    await world.alerting.close();
    await broken.engine.evaluate();
    expect(broken.engine.evaluatedAt).toBeNull();
  });

  test("started, it fires and delivers by itself", async () => {
    await world.addWebhook();
    await world.changeRule({ pendingSeconds: 0 });
    world.setUse(0.9);
    world.alerting.start();
    const [request] = await world.receiver.waitFor(1);
    expect(JSON.parse(request?.body ?? "")).toMatchObject({ type: "alert.firing", data: { utilisation: 0.9 } });
  });
});
