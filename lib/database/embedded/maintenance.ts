import { messageOf } from "../../kit/errors.ts";
import type { Log } from "../../kit/log.ts";
import type { Engine } from "./engine.ts";

const CHECK_MS = 15_000;
const TIDY_MS = 3_600_000;
const MAX_WAL_BYTES = 64 * 1024 * 1024;

/**
 * What a PostgreSQL server does in the background and PGlite, being one process, does not. Without checkpoints the
 * write-ahead log grows for ever, whatever `max_wal_size` says, and the next start replays all of it; without vacuum the
 * updated sums leave dead rows, and without statistics the planner guesses. All calls wait meanwhile, so it is done in
 * small portions.
 */
export function startMaintenance(engine: Engine, log: Log): { close(): Promise<void> } {
  let tidiedAt = performance.now();
  let running: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    running = running.then(step).catch((error: unknown) => {
      log.warn({ error: messageOf(error) }, "maintenance of the embedded database failed");
    });
  }, CHECK_MS);

  async function step(): Promise<void> {
    if ((await walBytes(engine)) > MAX_WAL_BYTES) await engine.script("checkpoint");
    if (performance.now() - tidiedAt < TIDY_MS) return;
    tidiedAt = performance.now();
    for (const table of await currentTables(engine)) await engine.script(`vacuum (analyze) gateway.${table}`);
  }

  return {
    async close() {
      clearInterval(timer);
      await running;
      await engine.script("checkpoint");
    },
  };
}

/** Written since the last checkpoint. */
export async function walBytes(engine: Engine): Promise<number> {
  const [row] = await engine.transaction((session) =>
    session.query(
      "select pg_wal_lsn_diff(pg_current_wal_lsn(), redo_lsn)::float8 as bytes from pg_control_checkpoint()",
    ),
  );
  return Number(row?.bytes ?? 0);
}

/** The tables that change: those of hours, of settings, and the partitions of the last two days. */
async function currentTables(engine: Engine): Promise<string[]> {
  const rows = await engine.transaction((session) =>
    session.query(
      `select quote_ident(c.relname) as name from pg_class c
       where c.relnamespace = 'gateway'::regnamespace and c.relkind = 'r'
         and (not c.relispartition or right(c.relname, 8) >= to_char(now() - interval '48 hours', 'YYYYMMDD'))`,
    ),
  );
  return rows.map((row) => String(row.name));
}
