import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { AppError, messageOf } from "../../kit/errors.ts";

export type FolderLock = { release(): void };

/**
 * Holds a data folder for this process alone. The lock is the operating system's, taken through SQLite because Node has
 * no call for it: it ends with the process however that ends, it holds across containers that share a volume, and a
 * process id that was given out anew cannot be mistaken for its holder. A file with a process id in it can do none of
 * that; the one written here only names the holder to people.
 */
export function lockFolder(folder: string): FolderLock {
  makeFolder(folder);
  const lock = openLock(folder);
  try {
    lock.exec("pragma locking_mode = exclusive; begin exclusive");
  } catch (error) {
    lock.close();
    throw isBusy(error) ? heldError(folder) : folderError(folder, error);
  }
  const holder = join(folder, "database.pid");
  writeFileSync(`${holder}.new`, JSON.stringify({ pid: process.pid, host: hostname() }), { mode: 0o600 });
  renameSync(`${holder}.new`, holder);
  return { release: () => lock.close() };
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw folderError(folder, error);
  }
}

function openLock(folder: string): DatabaseSync {
  try {
    return new DatabaseSync(join(folder, "database.lock"), { timeout: 0 });
  } catch (error) {
    throw folderError(folder, error);
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && "errcode" in error && (error.errcode === 5 || error.errcode === 261);
}

function heldError(folder: string): AppError {
  return new AppError(
    "misconfigured",
    `The data folder ${folder} is in use by ${holderOf(folder)}: stop it, or set HEADROOM_DATA_DIR to another folder.`,
  );
}

function holderOf(folder: string): string {
  try {
    const holder: unknown = JSON.parse(readFileSync(join(folder, "database.pid"), "utf8"));
    if (typeof holder !== "object" || holder === null || !("pid" in holder)) return "another process";
    const elsewhere = "host" in holder && holder.host !== hostname() ? ` on ${String(holder.host)}` : "";
    return `process ${String(holder.pid)}${elsewhere}`;
  } catch {
    return "another process";
  }
}

function folderError(folder: string, error: unknown): AppError {
  return new AppError(
    "misconfigured",
    `The data folder ${folder} cannot be used (${messageOf(error)}): make it writable for this user, or set HEADROOM_DATA_DIR to another folder.`,
    { cause: error },
  );
}
