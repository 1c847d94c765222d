import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../..");
/** Those of `npm start`. */
const FLAGS: string[] =
  JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).scripts.start.match(/--\S+/g) ?? [];
export const ADMIN_TOKEN = "an-admin-token-for-tests";

export type TestServer = {
  url: string;
  setupUrl: string;
  dataDir: string;
  pid: number;
  /** Everything that it has written to standard output and error. */
  said(): string;
  /** GET or, with a body, POST to `/api`, as an operator. Throws with status and body unless it went well. */
  api<T>(path: string, body?: unknown, method?: string): Promise<T>;
  /** SIGTERM, and waits for the end. Returns the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
};

export function makeDataDir(): string {
  return mkdtempSync(join(tmpdir(), "headroom-data-"));
}

/** Starts the product as a user does, as a process of its own on a free port. */
export async function startServer(options: {
  upstreamUrl: string;
  dataDir?: string;
  env?: Record<string, string>;
}): Promise<TestServer> {
  const dataDir = options.dataDir ?? makeDataDir();
  const { child, output, said } = spawnServer({
    PORT: "0",
    HEADROOM_DATA_DIR: dataDir,
    HEADROOM_UPSTREAM_URL: options.upstreamUrl,
    HEADROOM_ADMIN_TOKEN: ADMIN_TOKEN,
    ...options.env,
  });
  const text = await output(/Sign in +(\S+)/);
  const setupUrl = /Sign in +(\S+)/.exec(text)?.[1] ?? "";
  return testServer({ child, said, dataDir, setupUrl, url: new URL(setupUrl).origin });
}

/** What tests do with a process that serves at `url`. */
export function testServer(
  options: Pick<TestServer, "url" | "setupUrl" | "dataDir" | "said"> & { child: ChildProcess },
): TestServer {
  const { child, ...rest } = options;
  const ended = once(child, "exit");
  return {
    ...rest,
    pid: child.pid ?? 0,
    async api(path, body, method) {
      const response = await fetch(`${rest.url}${path}`, {
        method: method ?? (body === undefined ? "GET" : "POST"),
        headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const answer = await response.text();
      if (!response.ok) throw new Error(`${path}: ${response.status} ${answer}`);
      return JSON.parse(answer);
    },
    async stop() {
      child.kill("SIGTERM");
      await ended;
      return child.exitCode;
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs the server where it cannot start, and gives its exit code and all that it said. */
export async function failToStart(env: Record<string, string>): Promise<{ code: number | null; said: string }> {
  const { child, said } = spawnServer({ PORT: "0", HEADROOM_DATA_DIR: makeDataDir(), ...env });
  await once(child, "close");
  return { code: child.exitCode, said: said() };
}

/** Calls until the value is there. Polls, because what it waits for happens in another process. */
export async function until<T>(
  what: string,
  find: () => Promise<T | null | undefined | false>,
  seconds = 60,
): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const found = await find();
    if (found) return found;
    if (performance.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((next) => setTimeout(next, 100));
  }
}

export function removeDataDir(dataDir: string): void {
  rmSync(dataDir, { recursive: true, force: true });
}

export function spawnServer(env: Record<string, string>, program: readonly string[] = [...FLAGS, "server.ts"]) {
  const child: ChildProcess = spawn(process.execPath, program, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: "production", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let all = "";
  const wakers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      all += chunk.toString();
      for (const wake of wakers) wake();
    });
  }
  const output = (pattern: RegExp) =>
    new Promise<string>((found, failed) => {
      const look = () => {
        if (pattern.test(all)) found(all);
      };
      wakers.add(look);
      child.once("exit", (code) => failed(new Error(`the server ended with ${code}: ${all}`)));
      look();
    });
  process.once("exit", () => child.kill("SIGKILL"));
  return { child, output, said: () => all };
}
