import { randomBytes } from "node:crypto";
import { AppError, messageOf } from "../../kit/errors.ts";
import type { Log } from "../../kit/log.ts";
import { migrate, readMigrations } from "../migrate.ts";
import type { Engine } from "./engine.ts";
import { listen } from "./listen.ts";
import { openPostgres } from "./postgres.ts";
import { createRpcHandler } from "./rpc.ts";
import type { StartedDatabase } from "./start-embedded.ts";

/**
 * Puts the handler before the PostgreSQL of DATABASE_URL, in this process: the server does the work, so nothing here
 * can stop the event loop. Creates Supabase's roles and applies the migrations first. Connections that break are
 * replaced call by call, so it never ends by itself. Throws an AppError: `unavailable` when the server cannot be
 * reached, `misconfigured` when it is too old or its user may not create what is needed.
 */
export async function startHandler(options: { databaseUrl: string; log: Log }): Promise<StartedDatabase> {
  const { databaseUrl, log } = options;
  const engine = await openPostgres(databaseUrl, (reason) => log.warn({ reason }, "a database connection broke"));
  try {
    await prepare(engine, log);
    const secretKey = `sb_secret_${randomBytes(32).toString("base64url")}`;
    const listener = await listen(createRpcHandler({ engine, secretKey }));
    return {
      address: { url: listener.url, secretKey },
      async close() {
        await listener.close();
        await engine.close();
      },
      onExit: () => {},
    };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

async function prepare(engine: Engine, log: Log): Promise<void> {
  try {
    const applied = await migrate(engine, await readMigrations());
    if (applied.length > 0) log.info({ applied }, "migrations applied");
  } catch (error) {
    const code = codeOf(error);
    if (code !== "42501") throw error;
    throw new AppError(
      "misconfigured",
      `The user of DATABASE_URL may not set the database up (${messageOf(error)}): give it CREATEROLE and CREATE on the database, or start once with an owner's address.`,
      { cause: error },
    );
  }
}

function codeOf(error: unknown): string | undefined {
  const root = error instanceof AppError ? error.cause : error;
  return typeof root === "object" && root !== null && "code" in root ? String(root.code) : undefined;
}
