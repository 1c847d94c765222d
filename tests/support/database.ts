import { createDatabase, type Database } from "../../lib/database/database.ts";
import type { Row } from "../../lib/database/embedded/engine.ts";
import { fetchOf } from "../../lib/database/embedded/fetch.ts";
import { openPglite } from "../../lib/database/embedded/pglite.ts";
import { createRpcHandler } from "../../lib/database/embedded/rpc.ts";
import { prepareTemplate } from "../../lib/database/embedded/template.ts";

export type TestDatabase = {
  database: Database;
  /** For a supabase-js client of the test's own; any address will do, the key is TEST_SECRET_KEY. */
  fetch: typeof fetch;
  /** Past the functions, as the owner of the tables: to look at what was stored. Values are bound as text: cast them. */
  sql(query: string, values?: readonly (string | null)[]): Promise<Row[]>;
  close(): Promise<void>;
};

export const TEST_SECRET_KEY = "test-secret-key";

/** A database of the test's own: PGlite in memory with every migration, behind the handler that production uses. */
export async function openTestDatabase(): Promise<TestDatabase> {
  const engine = await openPglite({ template: await prepareTemplate() });
  const handler = fetchOf(createRpcHandler({ engine, secretKey: TEST_SECRET_KEY }));
  return {
    database: createDatabase({ url: "http://database.test", secretKey: TEST_SECRET_KEY }, { fetch: handler }),
    fetch: handler,
    sql: (query, values) => engine.transaction((session) => session.query(query, values)),
    close: () => engine.close(),
  };
}
