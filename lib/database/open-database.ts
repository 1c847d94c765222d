import type { Log } from "../kit/log.ts";
import type { Env } from "../settings/env.ts";
import type { DatabaseAddress } from "./database.ts";
import { startEmbedded } from "./embedded/start-embedded.ts";
import { startHandler } from "./embedded/start-handler.ts";

export type OpenedDatabase = {
  kind: "embedded" | "postgres" | "supabase";
  address: DatabaseAddress;
  close(): Promise<void>;
};

/** Finds the database that the environment names, or starts the embedded one. Throws what the starters throw. */
export async function openDatabase(env: Env, log: Log): Promise<OpenedDatabase> {
  const secretKey = env.SUPABASE_SECRET_KEY ?? env.SUPABASE_SERVICE_ROLE_KEY;
  if (env.SUPABASE_URL && secretKey) {
    return { kind: "supabase", address: { url: env.SUPABASE_URL, secretKey }, close: async () => {} };
  }
  if (env.DATABASE_URL) return { kind: "postgres", ...(await startHandler({ databaseUrl: env.DATABASE_URL, log })) };
  const options = { dataDir: env.HEADROOM_DATA_DIR, log, logLevel: env.HEADROOM_LOG_LEVEL };
  return { kind: "embedded", ...(await startEmbedded(options)) };
}
