import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { Random } from "./random.ts";
import { messageAnswer, messageEvents } from "./upstream.ts";

/** What the upstream of a fuzz run answers to a request, by the request's id alone. */
export type FuzzAnswer = {
  kind: "whole" | "cut" | "reset" | "early" | "interim";
  status: number;
  headers: Record<string, string | string[]>;
  body: Buffer;
};

const EVENTS = Buffer.from(messageEvents(["Grüße, ", "Welt"]).join(""));
const PLAIN = Buffer.from(JSON.stringify(messageAnswer()));
const OVERLOADED = Buffer.from(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`);

/** Content-type, content-encoding and bytes, which do not always agree. */
const BODIES: readonly (readonly [string, string | null, Buffer])[] = [
  ["application/json", null, PLAIN],
  ["text/event-stream; charset=utf-8", null, EVENTS],
  ["text/event-stream", "gzip", gzipSync(EVENTS)],
  ["text/event-stream", "br", brotliCompressSync(EVENTS)],
  ["application/json", "gzip", gzipSync(PLAIN)],
  ["text/event-stream", "gzip", EVENTS],
  ["text/event-stream", "zstd", Buffer.from("no zstd")],
  [
    "text/event-stream",
    null,
    Buffer.from(`event: message_start\ndata: {"message":{"usage":{"input_tokens":-1}}}\n\n: x\r\n\r`),
  ],
  ["text/event-stream", "unknown", Buffer.concat([EVENTS, EVENTS])],
  ["", null, Buffer.alloc(0)],
];

export function fuzzAnswer(id: string): FuzzAnswer {
  const random = new Random(Number(id.replace(/\D/g, "")) || 0);
  const kind = random.pick(["whole", "whole", "whole", "whole", "whole", "cut", "reset", "early", "interim"] as const);
  const [type, encoding, body] = random.pick(BODIES);
  const status = random.pick([200, 200, 200, 200, 201, 400, 404, 429, 500, 529]);
  return {
    kind,
    status,
    headers: {
      ...(type === "" ? {} : { "content-type": type }),
      ...(encoding === null ? {} : { "content-encoding": encoding }),
      ...(random.int(2) ? { "content-length": String((status < 400 ? body : OVERLOADED).length) } : {}),
      "set-cookie": ["a=1", "b=2"],
      "anthropic-ratelimit-requests-limit": random.pick(["1000", "-5", "x", ""]),
      "anthropic-ratelimit-requests-remaining": "999",
      "request-id": `req_${id}`,
    },
    body: status < 400 ? body : OVERLOADED,
  };
}

export type FuzzUpstream = {
  url: string;
  /** Ids of the requests that arrived, with a hash-free copy of the body for those that came whole. */
  seen: Map<string, number>;
  /** Requests that carried no id, or more than one. */
  strays: number;
  /** Told of every body that arrived whole. */
  onBody: (id: string, body: Buffer) => void;
  close(): Promise<void>;
};

export async function startFuzzUpstream(): Promise<FuzzUpstream> {
  const seen = new Map<string, number>();
  const server = createServer({ requestTimeout: 0, maxHeaderSize: 256 * 1024 }, (req, res) => {
    const ids = (req.headersDistinct["x-fuzz-id"] ?? []).map((id) => id.trim());
    const [id = ""] = ids;
    if (ids.length !== 1) upstream.strays += 1;
    seen.set(id, (seen.get(id) ?? 0) + 1);
    const answer = fuzzAnswer(id);
    req.on("error", () => {});
    res.on("error", () => {});
    if (answer.kind === "early") send(req, res, answer);
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      upstream.onBody(id, Buffer.concat(chunks));
      if (answer.kind !== "early") send(req, res, answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const upstream: FuzzUpstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    strays: 0,
    onBody: () => {},
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return upstream;
}

function send(req: IncomingMessage, res: ServerResponse, { kind, status, headers, body }: FuzzAnswer): void {
  if (kind === "reset") {
    req.socket.resetAndDestroy();
    return;
  }
  if (kind === "interim") {
    res.writeProcessing();
    res.writeEarlyHints({ link: "</a.css>; rel=preload" });
  }
  res.writeHead(status, headers);
  if (kind === "cut") {
    res.write(body.subarray(0, body.length >> 1), () => req.socket.destroy());
    return;
  }
  res.end(req.method === "HEAD" ? undefined : body);
}
