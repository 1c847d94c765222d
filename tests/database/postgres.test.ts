import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createDatabase } from "../../lib/database/database.ts";
import { openPostgres } from "../../lib/database/embedded/postgres.ts";
import { startHandler } from "../../lib/database/embedded/start-handler.ts";
import { migrate, readMigrations } from "../../lib/database/migrate.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { freePort, hasPostgres, startPostgres, type TestPostgres } from "../support/postgres.ts";
import { openPostgresBackend } from "./backends.ts";
import { makeCalls } from "./calls.ts";
import { databaseSuite } from "./suite.ts";

const Inserted = z.object({ inserted: z.int() });

describe.skipIf(!hasPostgres())("real", () => {
  databaseSuite("PostgreSQL behind the handler", openPostgresBackend);

  describe("a server of the operator's own", () => {
    let postgres: TestPostgres;
    const inDatabase = (name: string) => postgres.url.replace(/\/postgres$/, `/${name}`);
    const create = async (statement: string) => {
      const engine = await openPostgres(postgres.url, () => {});
      await engine.script(statement);
      await engine.close();
    };
    beforeAll(async () => {
      postgres = await startPostgres();
    });
    afterAll(() => postgres?.close());

    test("eight connections into four new days at once: no deadlock, and every sum is right", async () => {
      await create("create database crowd");
      const started = await startHandler({ databaseUrl: inDatabase("crowd"), log: silentLog });
      try {
        // From noon to noon: each of the four days has its calls, whatever the time is now.
        const toMs = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 43_200_000;
        const span = { fromMs: toMs - 3 * 86_400_000, toMs };
        const database = createDatabase(started.address);
        const send = async (connection: number) => {
          for (let batch = 0; batch < 10; batch += 1) {
            const rows = makeCalls(100, span, connection * 1000 + batch);
            expect(await database.call("calls_record", { rows }, Inserted)).toEqual({ inserted: 100 });
          }
        };
        await Promise.all(Array.from({ length: 8 }, (_, connection) => send(connection)));
        const engine = await openPostgres(inDatabase("crowd"), () => {});
        const [row] = await engine.transaction((session) =>
          session.query(`select
            (select count(*) from gateway.calls)::int as calls,
            (select sum(calls) from gateway.usage_1m)::int as minutes,
            (select sum(calls) from gateway.usage_1h)::int as hours,
            (select sum(input_tokens) from gateway.calls) = (select sum(input_tokens) from gateway.usage_1m) as tokens,
            (select sum(n) from gateway.latency_hist_1m) = (select sum(n) from gateway.latency_hist_1h) as histograms,
            (select count(distinct c.tableoid) from gateway.calls c)::int as days,
            (select deadlocks from pg_stat_database where datname = current_database())::int as deadlocks`),
        );
        await engine.close();
        expect(row).toEqual({
          calls: 8000,
          minutes: 8000,
          hours: 8000,
          tokens: true,
          histograms: true,
          days: 4,
          deadlocks: 0,
        });
      } finally {
        await started.close();
      }
    });

    test("several that migrate one database at once apply each migration once", async () => {
      await create("create database race");
      const migrations = await readMigrations();
      const engines = await Promise.all([1, 2, 3].map(() => openPostgres(inDatabase("race"), () => {})));
      const applied = await Promise.all(engines.map((engine) => migrate(engine, migrations)));
      await Promise.all(engines.map((engine) => engine.close()));
      expect(applied.flat().sort()).toEqual(migrations.map(({ version }) => version));
    });

    test("a user who may create roles and schemas is enough, a superuser is not needed", async () => {
      await create("create role plain login createrole password 'plain'");
      await create("create database plain owner plain");
      const databaseUrl = inDatabase("plain").replace(/\/\/[^@]+@/, "//plain:plain@");
      const started = await startHandler({ databaseUrl, log: silentLog });
      const rows = makeCalls(5, { fromMs: Date.now() - 60_000, toMs: Date.now() });
      const answer = await createDatabase(started.address).call("calls_record", { rows }, Inserted);
      await started.close();
      expect(answer).toEqual({ inserted: 5 });
    });

    test("a user who may not is refused with what to grant", async () => {
      await create("create role poor login password 'poor'");
      await create("create database poor");
      const databaseUrl = inDatabase("poor").replace(/\/\/[^@]+@/, "//poor:poor@");
      await expect(startHandler({ databaseUrl, log: silentLog })).rejects.toMatchObject({
        code: "misconfigured",
        message: expect.stringContaining("give it CREATEROLE"),
      });
    });

    test("an address that leads nowhere, or a wrong password, is told without the password", async () => {
      const port = await freePort();
      const nowhere = startHandler({ databaseUrl: `postgres://me:hunter2@127.0.0.1:${port}/x`, log: silentLog });
      const error = await nowhere.catch((caught: unknown) => caught);
      expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining(`127.0.0.1:${port}/x`) });
      expect(String(error)).not.toContain("hunter2");

      const wrong = postgres.url.replace(/:[^:@]+@/, ":hunter2@");
      const refused = await startHandler({ databaseUrl: wrong, log: silentLog }).catch((caught: unknown) => caught);
      expect(refused).toMatchObject({ code: "unavailable", message: expect.stringContaining("check DATABASE_URL") });
      expect(String(refused)).not.toContain("hunter2");
    });

    test("a connection that breaks costs the call it served and no other", async () => {
      await create("create database breaks");
      const started = await startHandler({ databaseUrl: inDatabase("breaks"), log: silentLog });
      const database = createDatabase(started.address);
      const state = () => database.call("database_state", {}, z.object({ postgres: z.string() }));
      await state();
      await create("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'breaks'");
      await expect
        .poll(
          () =>
            state().then(
              () => true,
              () => false,
            ),
          { timeout: 10_000 },
        )
        .toBe(true);
      await started.close();
    });
  });
});
