import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const ROOT = resolve(import.meta.dirname, "../..");
const ADMIN_TOKEN = "an-admin-token-for-the-benchmark";

/** What runs beside each other: the mock upstream itself, a bare proxy, a peer, and Headroom. */
export const NAMES = ["direct", "proxy", "portkey", "headroom"] as const;
export type Name = (typeof NAMES)[number];

/** A server under test, in a process of its own. */
export type Contestant = {
  name: Name;
  url: string;
  /** What a call needs to get through. */
  headers: Record<string, string>;
  usage(): Promise<{ cpuUs: number; rssBytes: number }>;
  /** CPU of the processes that it has started for itself; null where the system does not tell. */
  helpersCpuUs(): number | null;
  /** Resolves when what the calls so far have left to do is done. */
  settle(): Promise<void>;
  stop(): Promise<void>;
};

export async function startUpstream(): Promise<Contestant> {
  return contestant("direct", await start("gateway-upstream.ts", []));
}

export async function startProxy(upstreamUrl: string): Promise<Contestant> {
  return contestant("proxy", await start("gateway-proxy.ts", [upstreamUrl]));
}

/**
 * Portkey's gateway, installed on first use. With the versions of Hono that it takes by itself its streams fail, so the
 * older pair is forced. Throws when npm cannot install it.
 */
export async function startPortkey(upstreamUrl: string): Promise<Contestant> {
  const dir = join(ROOT, ".cache/portkey");
  const program = join(dir, "node_modules/@portkey-ai/gateway/build/start-server.js");
  if (!existsSync(program)) {
    mkdirSync(dir, { recursive: true });
    const manifest = {
      private: true,
      dependencies: { "@portkey-ai/gateway": "1.15.2" },
      overrides: { hono: "4.9.7", "@hono/node-server": "1.13.5" },
    };
    writeFileSync(join(dir, "package.json"), JSON.stringify(manifest, null, 2));
    console.log("Installing Portkey 1.15.2 into .cache/portkey …");
    await promisify(execFile)("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: dir });
  }
  const port = await freePort();
  const child = launch(program, ["--headless", `--port=${port}`], {});
  const url = `http://127.0.0.1:${port}`;
  await reachable(url, child);
  const headers = { "x-portkey-provider": "anthropic", "x-portkey-custom-host": `${upstreamUrl}/v1` };
  return { ...contestant("portkey", { child, url }), headers: { ...headers, "x-api-key": "sk-ant-bench" } };
}

/** The product as `npm start` starts it, with an agent key: nothing is switched off. */
export async function startHeadroom(upstreamUrl: string, execArgv: string[]): Promise<Contestant> {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const flags = String(scripts.start).match(/--\S+/g) ?? [];
  const dataDir = mkdtempSync(join(tmpdir(), "headroom-bench-"));
  const child = launch(
    join(ROOT, "server.ts"),
    [],
    {
      PORT: "0",
      HEADROOM_DATA_DIR: dataDir,
      HEADROOM_UPSTREAM_URL: upstreamUrl,
      HEADROOM_ADMIN_TOKEN: ADMIN_TOKEN,
      ANTHROPIC_API_KEY: "sk-ant-bench",
    },
    [...flags, ...execArgv],
  );
  const url = await said(child, /Sign in +(http:\/\/[^/]+)/);
  const authorization = `Bearer ${ADMIN_TOKEN}`;
  const created = await fetch(`${url}/api/agents`, {
    method: "POST",
    headers: { authorization, "content-type": "application/json" },
    body: JSON.stringify({ name: "bench" }),
  });
  if (!created.ok) throw new Error(`no agent key: ${created.status} ${await created.text()}`);
  const { secret } = (await created.json()) as { secret: string };
  const common = contestant("headroom", { child, url });
  return {
    ...common,
    headers: { authorization: `Bearer ${secret}` },
    // The rows of the last calls reach the database a moment later; that is part of their price.
    async settle() {
      child.send("settle");
      await once(child, "message");
    },
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

type Started = { child: ChildProcess; url: string };

async function start(file: string, args: string[]): Promise<Started> {
  const child = launch(join(import.meta.dirname, file), args, {});
  const [ready] = await once(child, "message");
  return { child, url: ready.url };
}

function launch(program: string, args: string[], env: Record<string, string>, execArgv: string[] = []): ChildProcess {
  const probe = join(import.meta.dirname, "gateway-probe.ts");
  const child = fork(program, args, {
    cwd: ROOT,
    execArgv: ["--import", probe, ...execArgv],
    env: {
      ...{ PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: "production", GATEWAY_BENCH_PROBE: "1" },
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  child.stdout?.resume();
  child.stderr?.pipe(process.stderr);
  process.once("exit", () => child.kill("SIGKILL"));
  return child;
}

function contestant(name: Name, { child, url }: Started): Contestant {
  return {
    name,
    url,
    headers: { authorization: "Bearer sk-ant-bench" },
    async usage() {
      child.send("usage");
      const [answer] = await once(child, "message");
      return answer;
    },
    helpersCpuUs: () => childrenCpuUs(child.pid ?? 0),
    settle: async () => {},
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** As Linux accounts them, in ticks of 10 ms. */
function childrenCpuUs(pid: number): number | null {
  if (!existsSync("/proc/self/stat")) return null;
  let ticks = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    for (const child of readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ")) {
      if (child === "") continue;
      const fields = readFileSync(`/proc/${child}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      ticks += Number(fields[11]) + Number(fields[12]);
    }
  }
  return ticks * 10_000;
}

function said(child: ChildProcess, pattern: RegExp): Promise<string> {
  let text = "";
  return new Promise((resolve, reject) => {
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const found = pattern.exec(text)?.[1];
      if (found) resolve(found);
    });
    child.once("exit", (code) => reject(new Error(`Headroom ended with ${code}: ${text}`)));
  });
}

async function reachable(url: string, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 300 && child.exitCode === null; tries += 1) {
    try {
      await fetch(url);
      return;
    } catch {
      await pause(100);
    }
  }
  throw new Error(`nothing answered at ${url}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  return typeof address === "object" && address !== null ? address.port : 0;
}

function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
