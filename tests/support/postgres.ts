import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, globSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client } from "pg";

export type TestPostgres = { url: string; port: number; password: string; close(): Promise<void> };

const PLACES = [
  "/usr/lib/postgresql/*/bin",
  "/opt/homebrew/opt/postgresql@*/bin",
  "/usr/local/opt/postgresql@*/bin",
  "/usr/pgsql-*/bin",
];
const INSTALL =
  "The database tests need PostgreSQL 15 or newer: apt-get install postgresql (Debian), brew install postgresql@17 (macOS).";

/** Whether these tests can run here. Where it counts, in CI, their absence is a failure and not a skip. */
export function hasPostgres(): boolean {
  if (findBinaries()) return true;
  if (process.env.CI) throw new Error(INSTALL);
  console.warn(`Skipped: ${INSTALL}`);
  return false;
}

/** A private server in a folder of its own on a random loopback port; it is gone after `close`. */
export async function startPostgres(): Promise<TestPostgres> {
  const binaries = findBinaries();
  if (!binaries) throw new Error(INSTALL);
  const user = unprivileged();
  const folder = mkdtempSync(join(tmpdir(), "headroom-postgres-"));
  const password = randomBytes(16).toString("hex");
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  if (user.uid !== undefined && user.gid !== undefined) {
    chownSync(folder, user.uid, user.gid);
    chownSync(passwordFile, user.uid, user.gid);
  }
  const data = join(folder, "data");
  const options = { ...user, cwd: folder, env: { ...process.env, LC_ALL: "C.UTF-8" } };
  execFileSync(
    join(binaries, "initdb"),
    ["-D", data, "-U", "postgres", "-A", "scram-sha-256", "--pwfile", passwordFile, "-E", "UTF8", "--no-sync"],
    { ...options, stdio: "ignore" },
  );
  const port = await freePort();
  const settings = ["fsync=off", "max_connections=60", "shared_buffers=64MB", "TimeZone=America/New_York"];
  const server = spawn(
    join(binaries, "postgres"),
    ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", folder, ...settings.flatMap((line) => ["-c", line])],
    { ...options, stdio: "ignore" },
  );
  const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
  const close = async () => {
    await stop(server);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await answering(url, server);
  } catch (error) {
    await close();
    throw error;
  }
  return { url, port, password, close };
}

function findBinaries(): string | undefined {
  return PLACES.flatMap((place) => globSync(place))
    .filter((path) => existsSync(join(path, "initdb")) && existsSync(join(path, "postgres")))
    .sort((a, b) => version(a) - version(b))
    .at(-1);
}

function version(path: string): number {
  return Number(/(\d+)/.exec(path)?.[1] ?? 0);
}

/** PostgreSQL refuses to run as root: then it runs as a user who owns nothing. */
function unprivileged(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "nobody"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, name], { stdio: ["ignore", "pipe", "ignore"] }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // There is no such user: try the next one.
    }
  }
  throw new Error("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody to run it as.");
}

export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}

async function answering(url: string, server: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (server.exitCode !== null) throw new Error(`PostgreSQL ended with code ${server.exitCode}`);
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch {
      await client.end().catch(() => {});
      await delay(100);
    }
  }
  throw new Error("PostgreSQL does not answer");
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  server.kill("SIGINT");
  await ended;
}
