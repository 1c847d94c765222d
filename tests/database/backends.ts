import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import { createDatabase, type Database } from "../../lib/database/database.ts";
import type { Engine, Row } from "../../lib/database/embedded/engine.ts";
import { fetchOf } from "../../lib/database/embedded/fetch.ts";
import { openPostgres } from "../../lib/database/embedded/postgres.ts";
import { createRpcHandler } from "../../lib/database/embedded/rpc.ts";
import { migrate, readMigrations } from "../../lib/database/migrate.ts";
import { openTestDatabase, TEST_SECRET_KEY } from "../support/database.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { startPostgrest } from "../support/postgrest.ts";

/** One way to reach a database, with everything that the suite looks at. */
export type Backend = {
  database: Database;
  client: SupabaseClient;
  /** As the owner of the tables, past the functions. */
  sql(query: string, values?: readonly (string | null)[]): Promise<Row[]>;
  close(): Promise<void>;
};

export async function openPgliteBackend(): Promise<Backend> {
  const test = await openTestDatabase();
  return {
    database: test.database,
    client: client("http://database.test", TEST_SECRET_KEY, test.fetch),
    sql: test.sql,
    close: test.close,
  };
}

export async function openPostgresBackend(): Promise<Backend & { postgres: TestPostgres; engine: Engine }> {
  const postgres = await startPostgres();
  const engine = await migrated(postgres);
  const handler = fetchOf(createRpcHandler({ engine, secretKey: TEST_SECRET_KEY }));
  return {
    postgres,
    engine,
    database: createDatabase({ url: "http://database.test", secretKey: TEST_SECRET_KEY }, { fetch: handler }),
    client: client("http://database.test", TEST_SECRET_KEY, handler),
    sql: (query, values) => engine.transaction((session) => session.query(query, values)),
    async close() {
      await engine.close();
      await postgres.close();
    },
  };
}

export async function openPostgrestBackend(): Promise<Backend> {
  const postgres = await startPostgres();
  const engine = await migrated(postgres);
  const server = await startPostgrest(postgres.url);
  return {
    database: createDatabase({ url: server.url, secretKey: server.serviceKey }, { fetch: server.fetch }),
    client: client(server.url, server.serviceKey, server.fetch),
    sql: (query, values) => engine.transaction((session) => session.query(query, values)),
    async close() {
      await server.close();
      await engine.close();
      await postgres.close();
    },
  };
}

async function migrated(postgres: TestPostgres): Promise<Engine> {
  const engine = await openPostgres(postgres.url, () => {});
  await migrate(engine, await readMigrations());
  return engine;
}

function client(url: string, key: string, through: typeof fetch): SupabaseClient {
  return createClient(url, key, { auth: { persistSession: false }, global: { fetch: through } });
}
