import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { RpcHandler } from "./rpc.ts";

/** A batch of a thousand calls is about a megabyte. */
const MAX_BODY_BYTES = 32 * 1024 * 1024;

export type Listener = { url: string; port: number; close(): Promise<void> };

/** Serves the handler on this machine's loopback alone. Port 0 takes any free one. */
export async function listen(handler: RpcHandler, port = 0): Promise<Listener> {
  let closing = false;
  const server = createServer((request, response) => {
    // A connection kept alive beyond its last answer would keep a closing server waiting for it.
    response.once("finish", () => {
      if (closing) setImmediate(() => server.closeIdleConnections());
    });
    serve(handler, request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        closing = true;
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}

async function serve(handler: RpcHandler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await read(request);
  if (body === null) {
    response.writeHead(413, { connection: "close" }).end();
    return;
  }
  const key = request.headers.apikey;
  const answer = await handler({
    method: request.method ?? "GET",
    path: (request.url ?? "/").split("?")[0] ?? "/",
    key: typeof key === "string" ? key : null,
    body,
  });
  response.writeHead(answer.status, { "content-type": "application/json; charset=utf-8" });
  response.end(answer.status === 204 ? undefined : answer.body);
}

async function read(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) continue;
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
