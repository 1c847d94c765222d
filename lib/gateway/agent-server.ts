import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createId } from "../kit/ids.ts";
import { AgentMessage } from "./agent-message.ts";
import { meetExpectations } from "./expect-continue.ts";
import { ownAnswers, renderOwnAnswer } from "./own-answer.ts";
import { SocketDoor } from "./socket-door.ts";
import { UploadWatch } from "./upload-watch.ts";

export type ClientTimeouts = {
  /** To a whole request head. */
  headersMs: number;
  /** Without a byte of a body that is owed. */
  stallMs: number;
  /** Between calls on a connection; told to clients in whole seconds. */
  idleMs: number;
  /** How often all this is looked at. */
  sweepMs: number;
};

const TIMEOUTS: ClientTimeouts = { headersMs: 60_000, stallMs: 60_000, idleMs: 65_000, sweepMs: 5_000 };
const MAX_HEADER_BYTES = 64 * 1024;
/** From then on the system asks a silent client whether it is still there. */
const PROBE_AFTER_MS = 30_000;

/**
 * The HTTP server before a gateway: agents' connections are read by the socket door, all others by Node, whose requests
 * go to `handle`. Clients are timed only while they owe something: an answer may take as long as it takes. `sweep` ends
 * what has been owed for too long at a time; it is called by itself too.
 */
export function createAgentServer(
  handle: (req: IncomingMessage, res: ServerResponse) => void,
  options: Partial<ClientTimeouts> = {},
): { server: Server; door: SocketDoor; sweep: (nowMs: number) => void } {
  const { headersMs, stallMs, idleMs, sweepMs } = { ...TIMEOUTS, ...options };
  const uploads = new UploadWatch();
  const server = createServer(
    {
      ...{ IncomingMessage: AgentMessage, maxHeaderSize: MAX_HEADER_BYTES },
      ...{ headersTimeout: headersMs, requestTimeout: 0, keepAliveTimeout: idleMs },
      ...{ connectionsCheckingInterval: sweepMs, keepAlive: true, keepAliveInitialDelay: PROBE_AFTER_MS },
    },
    (req, res) => {
      uploads.watch(req);
      handle(req, res);
    },
  );
  meetExpectations(server);
  const door = new SocketDoor(server, { idleMs, stallMs });
  const sweep = (nowMs: number) => {
    door.sweep(nowMs);
    uploads.sweep(nowMs, stallMs);
  };
  const timer = setInterval(() => sweep(performance.now()), sweepMs).unref();
  server.on("close", () => clearInterval(timer));
  return { server, door, sweep };
}

/** Answers an agent's call before the gateway can take any. */
export function refuseAtStart(_: IncomingMessage, res: ServerResponse): void {
  const answer = ownAnswers.starting();
  const { rawHeaders, body } = renderOwnAnswer(answer, createId(Date.now()));
  res.writeHead(answer.status, answer.reason, rawHeaders).end(body);
}
