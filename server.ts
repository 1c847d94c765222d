/**
 * The process: a Node HTTP server whose `/v1/*` goes straight to the gateway and everything else to Next. The port is
 * taken first, so that a used one is said at once; the gateway serves as soon as the runtime stands, while the dashboard
 * may still be building.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { isAgentCall } from "./lib/gateway/agent-message.ts";
import { createAgentServer, refuseAtStart } from "./lib/gateway/agent-server.ts";
import { buildDashboard } from "./lib/settings/build-dashboard.ts";
import { type Env, isLoopback, parseEnv } from "./lib/settings/env.ts";

const MINIMUM_NODE = [22, 18] as const;
const GRACE_MS = 30_000;

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

await main().catch((error: unknown) => {
  const told = error instanceof Error ? error.message : String(error);
  const expected = error instanceof Error && error.name === "AppError";
  process.stderr.write(`\n${expected ? told : `Headroom could not start: ${told}`}\n\n`);
  if (process.env.HEADROOM_LOG_LEVEL === "debug") console.error(error);
  process.exit(1);
});

async function main(): Promise<void> {
  requireNode();
  // Relative paths in settings are meant from the project's folder, wherever this is started.
  process.chdir(import.meta.dirname);
  const { values: flags } = parseArgs({
    options: {
      dev: { type: "boolean", default: false },
      demo: { type: "boolean", default: false },
      trace: { type: "string" },
      speed: { type: "string" },
    },
  });
  const stop = new AbortController();
  const demo = flags.demo ? await import("./lib/simulator/demo.ts") : null;
  // A demo's history ends now: what takes long comes before it.
  if (demo) await buildDashboard(import.meta.dirname, stop.signal);
  const env = parseEnv(demo ? await demo.demoEnv(process.env, flags) : process.env);
  Object.assign(process.env, { NODE_ENV: flags.dev ? "development" : "production", NEXT_TELEMETRY_DISABLED: "1" });

  let gateway: Handler = refuseAtStart;
  let dashboard: Handler = notYet;
  const { server, door } = createAgentServer((request, response) =>
    isAgentCall(request) ? gateway(request, response) : dashboard(request, response),
  );
  await listen(server, env);
  const url = publicUrlOf(env, server.address() as AddressInfo);

  const built = flags.dev ? Promise.resolve() : buildDashboard(import.meta.dirname, stop.signal);
  // It is awaited below; a failure before that must not end the process in another way.
  built.catch(() => {});
  const { startRuntime } = await import("./lib/runtime.ts");
  const runtime = await startRuntime({ env, publicUrl: url, demo: flags.demo });
  stopOnSignals(async () => {
    stop.abort();
    server.close();
    server.closeIdleConnections();
    door.closeIdleConnections();
    await runtime.close(GRACE_MS);
    server.closeAllConnections();
    door.closeAllConnections();
  });
  gateway = (request, response) => runtime.gateway.handleNode(request, response);
  door.calls = runtime.gateway.calls;

  await built;
  const { default: next } = await import("next");
  const app = next({ dev: flags.dev, dir: import.meta.dirname, quiet: true });
  await app.prepare();
  const handle = app.getRequestHandler();
  dashboard = (request, response) => handle(request, response);

  process.stdout.write(welcome(url, runtime.operators.setupToken, env));
  if (demo) await demo.startDemo({ url, database: runtime.database, signal: stop.signal, flags });
}

function requireNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1])) return;
  process.stderr.write(
    `\nHeadroom needs Node ${MINIMUM_NODE.join(".")} or newer, this is ${process.versions.node}. Start it with "npm start": that brings its own.\n\n`,
  );
  process.exit(1);
}

function notYet(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(503, { "retry-after": "1", "content-type": "text/plain; charset=utf-8" });
  response.end("Headroom is starting; try again in a moment.\n");
}

function listen(server: Server, env: Env): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(listenFault(error, env)));
    server.listen(env.PORT, env.HOST, resolve);
  });
}

function listenFault(error: NodeJS.ErrnoException, env: Env): Error {
  const messages: Record<string, string> = {
    EADDRINUSE: `Port ${env.PORT} on ${env.HOST} is in use. Stop what listens there, or choose another: PORT=${env.PORT + 1} npm start`,
    EACCES: `Port ${env.PORT} needs more rights than this user has. Choose one above 1023: PORT=3000 npm start`,
    EADDRNOTAVAIL: `HOST=${env.HOST} is no address of this machine. Use 127.0.0.1, or 0.0.0.0 for all of its addresses.`,
    ENOTFOUND: `HOST=${env.HOST} is not known. Use 127.0.0.1, or 0.0.0.0 for all addresses of this machine.`,
  };
  const message = messages[error.code ?? ""] ?? `Cannot listen on ${env.HOST}:${env.PORT}: ${error.message}`;
  return Object.assign(new Error(message), { name: "AppError" });
}

function publicUrlOf(env: Env, address: AddressInfo): string {
  if (env.HEADROOM_PUBLIC_URL) return env.HEADROOM_PUBLIC_URL.replace(/\/+$/, "");
  const host = env.HOST === "0.0.0.0" || env.HOST === "::" ? "127.0.0.1" : env.HOST;
  return `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${address.port}`;
}

function welcome(url: string, setupToken: string | null, env: Env): string {
  const scope = isLoopback(env.HOST) ? "this machine only" : `everybody who reaches ${env.HOST}`;
  return `
  Headroom is ready for ${scope}.

    Agents      ANTHROPIC_BASE_URL=${url}
    Dashboard   ${url}
    Sign in     ${url}/setup?token=${setupToken}   (works once)

`;
}

function stopOnSignals(close: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(1);
      stopping = true;
      process.stdout.write("\n  Stopping: open calls may finish (30 s at most). Once more stops at once.\n");
      close().then(
        () => process.exit(0),
        () => process.exit(1),
      );
    });
  }
}
