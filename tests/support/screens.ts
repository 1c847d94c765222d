import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import next from "next";
import type { Overview } from "#lib/overview/schema.ts";
import { buildDashboard } from "#lib/settings/build-dashboard.ts";
import { type Look, OverviewSource } from "./overview-data.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Where lib/runtime.ts keeps the process's runtime. */
const RUNTIME = Symbol.for("headroom.runtime");

const BUILD_MS = 300_000;

type Api = (method: string, path: string, body: unknown) => { status: number; body: unknown } | null;

export type Screens = {
  url: string;
  /** What the made-up gateway does; may be told to become another. */
  source: OverviewSource;
  /** Sends one event to every open page, as each second does. */
  tick(): void;
  /** Cuts every open line and refuses new ones, until `mend`. */
  cut(): void;
  mend(): void;
  close(): Promise<void>;
};

/**
 * The built dashboard in front of made-up data: a runtime of the test's own stands where `server.ts` would put the real
 * one, and this server answers `/api`. The pages and their check of the session are the shipped ones.
 */
export async function openScreens(look: Look, options: { api?: Api; ticking?: boolean } = {}): Promise<Screens> {
  const source = new OverviewSource(look);
  const runtime = { operators: { isSession: () => true }, overview: { first: () => source.first() } };
  (globalThis as Record<symbol, unknown>)[RUNTIME] = Promise.resolve(runtime);
  const lines = new Set<ServerResponse>();
  let isCut = false;
  await buildDashboard(ROOT, AbortSignal.timeout(BUILD_MS));
  const app = next({ dir: ROOT, quiet: true });
  await app.prepare();
  const handle = app.getRequestHandler();
  const server: Server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    if (path === "/api/live") {
      if (isCut) return void response.writeHead(503).end();
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      send(response, source.first());
      lines.add(response);
      response.on("close", () => lines.delete(response));
      return;
    }
    if (path.startsWith("/api/") && options.api) {
      void readJson(request).then((body) => {
        const answer = options.api?.(request.method ?? "GET", path, body);
        response.writeHead(answer?.status ?? 404, { "content-type": "application/json" });
        response.end(JSON.stringify(answer?.body ?? { error: { code: "not_found", message: "nothing here" } }));
      });
      return;
    }
    void handle(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const tick = () => {
    const event = source.next();
    for (const line of lines) send(line, event);
  };
  const timer = options.ticking ? setInterval(tick, 1_000) : undefined;
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    source,
    tick,
    cut() {
      isCut = true;
      for (const line of lines) line.destroy();
    },
    mend() {
      isCut = false;
    },
    async close() {
      clearInterval(timer);
      for (const line of lines) line.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await app.close();
    },
  };
}

function send(response: ServerResponse, overview: Overview): void {
  response.write(`event: overview\ndata: ${JSON.stringify(overview)}\n\n`);
}

async function readJson(request: AsyncIterable<Buffer>): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? null : JSON.parse(text);
}
