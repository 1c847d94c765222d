import { Pool, type PoolClient } from "pg";
import { AppError, messageOf } from "../../kit/errors.ts";
import type { Engine, Row, Session } from "./engine.ts";

const CONNECTIONS = 10;
const CONNECT_TIMEOUT_MS = 10_000;
const OLDEST_VERSION = 150_000;

/**
 * A PostgreSQL server, 15 or newer, at a `postgres://` address. Statements have no names, so that it may lie behind a
 * transaction pooler. Throws `unavailable` when it cannot be reached and `misconfigured` when it is too old.
 */
export async function openPostgres(databaseUrl: string, onIdleError: (message: string) => void): Promise<Engine> {
  const pool = new Pool({
    connectionString: databaseUrl,
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: "headroom",
  });
  // An idle connection that breaks is replaced at the next call; without a listener it would end the process.
  pool.on("error", (error) => onIdleError(messageOf(error)));
  // Nor may one that breaks between two statements of a transaction: the next statement fails and tells.
  pool.on("connect", (client) => client.on("error", () => {}));
  try {
    const { rows } = await pool.query<{ server_version_num: string }>("show server_version_num");
    if (Number(rows[0]?.server_version_num) < OLDEST_VERSION) {
      throw new AppError(
        "misconfigured",
        "DATABASE_URL leads to a PostgreSQL older than 15: upgrade the server, or leave DATABASE_URL out to use the embedded database.",
      );
    }
  } catch (error) {
    await pool.end();
    if (error instanceof AppError) throw error;
    throw new AppError(
      "unavailable",
      `PostgreSQL at ${placeOf(databaseUrl)} cannot be reached (${reasonOf(error)}): check DATABASE_URL and that the server runs.`,
      { cause: error },
    );
  }
  return {
    transaction: (work) => transaction(pool, work),
    script: async (text) => {
      await pool.query(text);
    },
    close: () => pool.end(),
  };
}

async function transaction<T>(pool: Pool, work: (session: Session) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query("begin");
    const result = await work(session(client));
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((failure: unknown) => {
      broken = failure instanceof Error ? failure : new Error(String(failure));
    });
    throw error;
  } finally {
    client.release(broken);
  }
}

function session(client: PoolClient): Session {
  return {
    query: async (text, values) => (await client.query<Row>(text, values ? [...values] : undefined)).rows,
    script: async (text) => {
      await client.query(text);
    },
  };
}

/** Host and database, without the password. */
function placeOf(databaseUrl: string): string {
  try {
    const { host, pathname } = new URL(databaseUrl);
    return `${host}${pathname}`;
  } catch {
    return "DATABASE_URL";
  }
}

/** A host with several addresses fails with an AggregateError, whose own message is empty. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(messageOf).join("; ");
  return messageOf(error);
}
