import { expect, test } from "vitest";
import type { Engine } from "../../lib/database/embedded/engine.ts";
import { dumpPglite, openPglite } from "../../lib/database/embedded/pglite.ts";
import { migrate, readMigrations } from "../../lib/database/migrate.ts";
import type { CallRecord } from "../../lib/usage/schema.ts";
import { callRecord } from "../support/call-record.ts";

/** Everything that migrations make, by the catalog's own words. */
const SCHEMA = `
select json_build_object(
  'functions', (select json_agg(json_build_array(p.oid::regprocedure::text, pg_get_functiondef(p.oid), p.proacl::text)
    order by p.oid::regprocedure::text) from pg_proc p where p.pronamespace in ('public'::regnamespace, 'gateway'::regnamespace)),
  'columns', (select json_agg(json_build_array(table_name, column_name, data_type, is_nullable, column_default)
    order by table_name, ordinal_position) from information_schema.columns where table_schema = 'gateway'),
  'indexes', (select json_agg(indexdef order by indexname) from pg_indexes where schemaname = 'gateway'),
  'constraints', (select json_agg(json_build_array(conrelid::regclass::text, conname, pg_get_constraintdef(oid))
    order by conrelid::regclass::text, conname) from pg_constraint where connamespace = 'gateway'::regnamespace),
  'history', (select json_agg(version order by version) from supabase_migrations.schema_migrations))::text as schema`;

async function schemaOf(engine: Engine): Promise<unknown> {
  const [row] = await engine.transaction((session) => session.query(SCHEMA));
  return JSON.parse(String(row?.schema));
}

test("an older template with the later migrations is the same schema as a fresh one", async () => {
  const migrations = await readMigrations();
  const older = await dumpPglite(async (engine) => {
    await migrate(engine, migrations.slice(0, 2));
  });
  const upgraded = await openPglite({ template: older });
  expect(await migrate(upgraded, migrations)).toEqual(migrations.slice(2).map(({ version }) => version));
  const fresh = await openPglite();
  expect(await migrate(fresh, migrations)).toHaveLength(migrations.length);
  expect(await schemaOf(upgraded)).toEqual(await schemaOf(fresh));
  expect(await migrate(fresh, migrations)).toEqual([]);
  await Promise.all([upgraded.close(), fresh.close()]);
});

test("what agents' own settings refused before is called by their names, and the upstream's refusals stay", async () => {
  const migrations = await readMigrations();
  const engine = await openPglite();
  await migrate(engine, migrations.slice(0, 5));
  const refused = (refusal: CallRecord["refusal"], errorCode: string) =>
    callRecord({ outcome: "refused", status: 429, refusal, errorCode });
  const rows = [
    refused("spend_cap", "headroom_budget"),
    refused("requests", "headroom_requests"),
    refused("spend_cap", "enforced_spend_limit_reached"),
    refused("shed", "headroom_deadline"),
  ];
  const read = () =>
    engine.transaction((session) =>
      session.query("select refusal, label, web_fetch_requests from gateway.calls order by error_code"),
    );
  await engine.transaction((session) =>
    session.query("select public.calls_record($1::text::jsonb)", [JSON.stringify(rows)]),
  );
  await migrate(engine, migrations);
  const added = { label: null, web_fetch_requests: 0 };
  expect(await read()).toEqual(
    ["spend_cap", "agent_budget", "shed", "agent_requests"].map((refusal) => ({ refusal, ...added })),
  );
  await engine.close();
});

test("a migration that fails leaves nothing of itself and names itself", async () => {
  const engine = await openPglite();
  const bad = {
    version: "20990101000000",
    name: "bad",
    sql: "create table public.half (a int); select nothing from nowhere",
  };
  await expect(migrate(engine, [bad])).rejects.toThrow(/migration 20990101000000_bad failed: .*nowhere/);
  const rows = await engine.transaction((session) => session.query("select to_regclass('public.half') as half"));
  expect(rows).toEqual([{ half: null }]);
  await engine.close();
});
