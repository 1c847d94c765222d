import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { resolve as resolvePath } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { AppError, messageOf } from "../../kit/errors.ts";
import type { Log } from "../../kit/log.ts";
import type { DatabaseAddress } from "../database.ts";
import { type OwnerOrder, OwnerReport } from "./owner.ts";

/** A database that this process started. */
export type StartedDatabase = {
  /** Stays the same over restarts of the owner. */
  address: DatabaseAddress;
  /** Lets running calls end, writes everything to disk and frees the folder. */
  close(): Promise<void>;
  /** Told once, with the reason, when the database has ended and could not be brought back. */
  onExit(callback: (reason: string) => void): void;
};

const OWNER = fileURLToPath(new URL("./owner.ts", import.meta.url));
const START_TIMEOUT_MS = 120_000;
const CLOSE_TIMEOUT_MS = 15_000;
const RESTART_DELAYS_MS = [0, 250, 1_000, 4_000, 15_000];
/** An owner that lived this long had begun well: the next restart is again a first one. */
const STEADY_MS = 60_000;

/**
 * Starts the process that owns the embedded database and starts it again, at the same address, when it dies. Throws an
 * AppError: `misconfigured` when the folder is held by another process or cannot be used, else `unavailable`.
 */
export async function startEmbedded(options: {
  dataDir: string;
  log: Log;
  logLevel?: string;
  /** How long to wait before each attempt to bring the owner back; after the last it is given up. */
  restartDelaysMs?: readonly number[];
}): Promise<StartedDatabase> {
  const { log, restartDelaysMs = RESTART_DELAYS_MS } = options;
  const order: OwnerOrder = {
    dataDir: resolvePath(options.dataDir),
    secretKey: `sb_secret_${randomBytes(32).toString("base64url")}`,
    port: 0,
    logLevel: options.logLevel ?? "warn",
  };
  const listeners: ((reason: string) => void)[] = [];
  let owner = await startOwner(order);
  order.port = owner.port;
  let closing = false;
  let failures = 0;
  watch();

  function watch(): void {
    const since = performance.now();
    owner.child.once("exit", (code, signal) => {
      if (closing) return;
      if (performance.now() - since > STEADY_MS) failures = 0;
      log.error({ code, signal }, "the embedded database ended and is started again");
      void restart(`it ended with ${signal ?? `code ${code}`}`);
    });
  }

  async function restart(reason: string): Promise<void> {
    const waitMs = restartDelaysMs[failures];
    failures += 1;
    if (waitMs === undefined) {
      log.error({ reason }, "the embedded database cannot be brought back");
      for (const listener of listeners) listener(reason);
      return;
    }
    await delay(waitMs);
    if (closing) return;
    try {
      const next = await startOwner(order);
      if (closing) return void next.child.kill("SIGTERM");
      owner = next;
      watch();
    } catch (error) {
      await restart(messageOf(error));
    }
  }

  return {
    address: { url: owner.url, secretKey: order.secretKey },
    async close() {
      closing = true;
      await stop(owner.child);
    },
    onExit: (callback) => {
      listeners.push(callback);
    },
  };
}

type Owner = { child: ChildProcess; url: string; port: number };

async function startOwner(order: OwnerOrder): Promise<Owner> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", OWNER], {
    stdio: ["pipe", "ignore", "inherit", "pipe"],
    env: ownerEnvironment(),
  });
  const channel = child.stdio[3];
  if (!child.stdin || !channel || !("on" in channel)) throw new AppError("internal", "the owner process has no pipes");
  // It may end before it has read; its exit tells.
  child.stdin.on("error", () => {});
  child.stdin.write(`${JSON.stringify(order)}\n`);
  const lines = createInterface({ input: channel as NodeJS.ReadableStream });
  const timeout = setTimeout(() => child.kill("SIGKILL"), START_TIMEOUT_MS);
  try {
    const line = await new Promise<string>((resolve, reject) => {
      lines.once("line", resolve);
      child.once("error", reject);
      // Comes after the exit and after everything the owner wrote has been read.
      child.once("close", (code, signal) => {
        reject(new AppError("unavailable", `The embedded database ended with ${signal ?? `code ${code}`}.`));
      });
    });
    const report = OwnerReport.parse(JSON.parse(line));
    if ("fault" in report) throw new AppError(report.fault.code, report.fault.message);
    return { child, url: report.url, port: report.port };
  } catch (error) {
    child.kill("SIGKILL");
    throw error instanceof AppError
      ? error
      : new AppError("unavailable", `The embedded database did not start: ${messageOf(error)}`, { cause: error });
  } finally {
    clearTimeout(timeout);
    lines.close();
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const timeout = setTimeout(() => child.kill("SIGKILL"), CLOSE_TIMEOUT_MS);
  child.stdin?.end();
  await ended;
  clearTimeout(timeout);
}

/** Nothing of ours is in the environment that the owner needs, and it holds credentials: it gets what Node needs. */
function ownerEnvironment(): NodeJS.ProcessEnv {
  const names = ["PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG"];
  return Object.fromEntries(names.map((name) => [name, process.env[name]]).filter(([, value]) => value !== undefined));
}
