import { afterEach, beforeEach, expect, test } from "vitest";
import { createDatabase } from "../../lib/database/database.ts";
import { fetchOf } from "../../lib/database/embedded/fetch.ts";
import { openPostgres } from "../../lib/database/embedded/postgres.ts";
import { createRpcHandler } from "../../lib/database/embedded/rpc.ts";
import { migrate, readMigrations } from "../../lib/database/migrate.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { poolAt, seeded } from "./factories.ts";
import { openWorld, type World } from "./world.ts";

let db: TestDatabase;
let world: World;
beforeEach(async () => {
  db = process.env.TEST_DATABASE_URL ? await openServer(process.env.TEST_DATABASE_URL) : await openTestDatabase();
  world = await openWorld(db);
});
afterEach(async () => {
  await world.close();
  await db.close();
});

/** Three gateways that all evaluate and deliver at once, leases taken from each other, a receiver that fails at random. */
test.each([1, 2])(
  "several instances in disorder: one notice per change, an end for every beginning (seed %i)",
  async (seed) => {
    const random = seeded(seed);
    await world.changeRule({ pendingSeconds: 4, recoverySeconds: 6 });
    await world.addWebhook();
    const delivered = new Map<string, string[]>();
    world.receiver.answerWith((response, { headers, body }) => {
      if (random() < 0.4) return void response.writeHead(503).end();
      const { type, data } = JSON.parse(body);
      delivered.set(data.id, [...(delivered.get(data.id) ?? []), `${type} ${headers["webhook-id"]}`]);
      response.writeHead(204).end();
    });
    const instances = [world.alerting, world.createInstance(), world.createInstance()];
    const shares = new Map(["a", "b", "c"].map((upstream) => [upstream, 0.5]));
    // High and low for some rounds at a time, so that incidents begin and end; each upstream at its own pace.
    const wander = (share: number) => (random() < 0.12 ? (share > 0.7 ? random() * 0.5 : 0.8 + random() * 0.3) : share);
    const round = async (use: (share: number) => number) => {
      for (const [upstream, share] of shares) shares.set(upstream, use(share));
      world.setPools(
        [...shares].map(([upstream, share]) => poolAt(share, { upstream, key: `${upstream}/opus-5/standard` })),
      );
      await Promise.all(
        instances.map(async (instance) => {
          await db.sql("update gateway.leases set held_until = now() - interval '1 second'");
          instance.engine.refresh();
          await instance.engine.evaluate();
          await instance.deliverer.drain();
        }),
      );
      if (random() < 0.5) await world.skipWaiting();
      world.clock.advance(2_000);
    };
    for (let i = 0; i < 120; i++) await round(wander);
    await round(() => 0);
    // Two of them die; the last one tidies up.
    for (const instance of instances.splice(1)) await instance.close();
    for (let i = 0; i < 12; i++) await round(() => 0);
    world.receiver.answerWith((response, { headers, body }) => {
      const { type, data } = JSON.parse(body);
      delivered.set(data.id, [...(delivered.get(data.id) ?? []), `${type} ${headers["webhook-id"]}`]);
      response.writeHead(204).end();
    });
    await world.skipWaiting();
    for (const instance of instances) await instance.deliverer.drain();

    expect(await db.sql("select state from gateway.alerts where state <> 'resolved'")).toEqual([]);
    expect(delivered.size).toBeGreaterThan(3);
    for (const [alert, lines] of delivered) {
      expect(
        lines.map((line) => line.split(" ")[0]),
        alert,
      ).toEqual(["alert.firing", "alert.resolved"]);
    }
    expect(await db.sql("select state from gateway.notifications where state in ('waiting', 'failed')")).toEqual([]);
  },
);

/** The same over a PostgreSQL server, where statements really run side by side. */
async function openServer(url: string): Promise<TestDatabase> {
  const engine = await openPostgres(url, () => {});
  await migrate(engine, await readMigrations());
  const handler = fetchOf(createRpcHandler({ engine, secretKey: "test" }));
  return {
    database: createDatabase({ url: "http://database.test", secretKey: "test" }, { fetch: handler }),
    fetch: handler,
    sql: (query, values) => engine.transaction((session) => session.query(query, values)),
    close: () => engine.close(),
  };
}
