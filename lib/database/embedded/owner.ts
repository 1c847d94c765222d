import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { z } from "zod";
import { AppError, messageOf } from "../../kit/errors.ts";
import { createLog, type Log } from "../../kit/log.ts";
import { migrate, readMigrations } from "../migrate.ts";
import { openFolder } from "./folder.ts";
import { listen } from "./listen.ts";
import { lockFolder } from "./lock.ts";
import { startMaintenance } from "./maintenance.ts";
import { createRpcHandler } from "./rpc.ts";

/** What the parent writes, as the first line of standard input. The key goes no other way: arguments are public. */
export const OwnerOrder = z.object({
  dataDir: z.string(),
  secretKey: z.string(),
  /** 0 for any; after a restart the one before, so that clients find the owner again. */
  port: z.int(),
  logLevel: z.string(),
});
export type OwnerOrder = z.infer<typeof OwnerOrder>;

/** What the owner answers, one line on file descriptor 3. */
export const OwnerReport = z.union([
  z.object({ url: z.string(), port: z.int() }),
  z.object({ fault: z.object({ code: z.enum(["misconfigured", "unavailable"]), message: z.string() }) }),
]);
export type OwnerReport = z.infer<typeof OwnerReport>;

/**
 * The process that owns the embedded database: it holds the folder's lock, runs PGlite and serves it on loopback. A
 * process of its own, because a heavy query stops the event loop for seconds. It ends when its standard input does, so
 * that no orphan keeps the folder after its parent was killed.
 */
async function own(): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  const stopped = new Promise<void>((resolve) => {
    lines.once("close", resolve);
    process.once("SIGTERM", resolve);
    // A terminal sends this to the parent as well, which still needs the database to write what it holds.
    process.on("SIGINT", () => {});
  });
  const first = await new Promise<string | null>((resolve) => {
    lines.once("line", resolve);
    lines.once("close", () => resolve(null));
  });
  if (first === null) return;
  const order = OwnerOrder.parse(JSON.parse(first));
  const log = createLog(order.logLevel);
  const close = await open(order, log).catch((error: unknown) => {
    const code = error instanceof AppError && error.code === "misconfigured" ? "misconfigured" : "unavailable";
    report({ fault: { code, message: messageOf(error) } });
    return null;
  });
  if (close) {
    await stopped;
    await close();
  }
  process.exit(close ? 0 : 1);
}

async function open(order: OwnerOrder, log: Log): Promise<() => Promise<void>> {
  const lock = lockFolder(order.dataDir);
  const migrations = await readMigrations();
  const engine = await openFolder(order.dataDir, migrations);
  const applied = await migrate(engine, migrations);
  if (applied.length > 0) log.info({ applied }, "migrations applied");
  const maintenance = startMaintenance(engine, log);
  const listener = await listen(createRpcHandler({ engine, secretKey: order.secretKey }), order.port);
  report({ url: listener.url, port: listener.port });
  return async () => {
    await listener.close();
    await maintenance.close();
    await engine.close();
    lock.release();
  };
}

function report(value: OwnerReport): void {
  writeSync(3, `${JSON.stringify(value)}\n`);
}

if (import.meta.main) await own();
