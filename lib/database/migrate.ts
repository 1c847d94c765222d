import { readdir, readFile } from "node:fs/promises";
import { AppError, messageOf } from "../kit/errors.ts";
import type { Engine } from "./embedded/engine.ts";

export type Migration = { version: string; name: string; sql: string };

const FOLDER = new URL("../../supabase/migrations/", import.meta.url);

/** The migrations of `supabase/migrations`, oldest first. */
export async function readMigrations(folder: URL = FOLDER): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => /^\d{14}_\w+\.sql$/.test(file)).sort();
  return Promise.all(
    files.map(async (file) => ({
      version: file.slice(0, 14),
      name: file.slice(15, -4),
      sql: await readFile(new URL(file, folder), "utf8"),
    })),
  );
}

/**
 * Brings a database that is not Supabase to the newest schema and returns the versions it applied. History is kept in
 * the table that `supabase db push` uses, so a database may change hands. Each migration is one transaction that takes
 * the lock and then looks whether another process was quicker; no lock outlives a transaction, so that it also works
 * through a transaction pooler.
 */
export async function migrate(engine: Engine, migrations: readonly Migration[]): Promise<string[]> {
  await engine.transaction(async (session) => {
    await session.script(`${LOCK};${ROLES};${HISTORY}`);
  });
  const applied: string[] = [];
  for (const migration of migrations) {
    const done = await engine.transaction(async (session) => {
      await session.script(LOCK);
      const known = await session.query(
        "select 1 from supabase_migrations.schema_migrations where version = $1::text",
        [migration.version],
      );
      if (known.length > 0) return false;
      try {
        await session.script(migration.sql);
      } catch (error) {
        const text = `migration ${migration.version}_${migration.name} failed: ${messageOf(error)}`;
        throw new AppError("internal", text, { cause: error });
      }
      await session.query(
        `insert into supabase_migrations.schema_migrations (version, name, statements)
         values ($1::text, $2::text, array[$3::text])`,
        [migration.version, migration.name, migration.sql],
      );
      return true;
    });
    if (done) applied.push(migration.version);
  }
  return applied;
}

const LOCK = "select pg_advisory_xact_lock(hashtext('headroom migrations'))";

/** What Supabase brings along: its roles, and their use of the exposed schema. */
const ROLES = `
do $$
declare wanted text;
begin
  foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin noinherit', wanted);
    end if;
  end loop;
  if not pg_has_role(current_user, 'service_role', 'member') then
    execute format('grant service_role to %I', current_user);
  end if;
  grant usage on schema public to anon, authenticated, service_role;
end $$`;

const HISTORY = `
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
`;
