import { PGlite } from "@electric-sql/pglite";
import type { Engine, Row, Session } from "./engine.ts";

/**
 * PostgreSQL in this process. It has one connection and no lock of its own: two processes on one folder lose rows
 * without an error, so a folder is opened only by the owner that holds its lock. Without a folder it lives in memory.
 */
export async function openPglite(options: { folder?: string; template?: Blob | undefined } = {}): Promise<Engine> {
  const db = await PGlite.create({
    ...(options.folder ? { dataDir: options.folder } : {}),
    ...(options.template ? { loadDataDir: options.template } : {}),
    // The default lets the write-ahead log grow to a gigabyte.
    postgresqlconf: ["max_wal_size = 128MB", "min_wal_size = 32MB", "timezone = 'UTC'", "jit = off"],
  });
  return pgliteEngine(db);
}

/** The whole data folder as one tar archive, for `openPglite({ template })`. */
export async function dumpPglite(prepare: (engine: Engine) => Promise<void>): Promise<Blob> {
  const db = await PGlite.create();
  try {
    await prepare(pgliteEngine(db));
    return await db.dumpDataDir("none");
  } finally {
    await db.close();
  }
}

type Runner = Pick<PGlite, "query" | "exec">;

function pgliteEngine(db: PGlite): Engine {
  return {
    transaction: (work) => db.transaction((transaction) => work(session(transaction))),
    script: async (text) => {
      await db.exec(text);
    },
    close: () => db.close(),
  };
}

function session(runner: Runner): Session {
  return {
    query: async (text, values) => (await runner.query<Row>(text, values ? [...values] : undefined)).rows,
    script: async (text) => {
      await runner.exec(text);
    },
  };
}
