import { createAgentServer } from "../../lib/gateway/agent-server.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { LimitBook } from "../../lib/limits/limit-book.ts";
import { LiveUsage } from "../../lib/usage/live-usage.ts";
import { CallRecord } from "../../lib/usage/schema.ts";
import { Spool } from "../../lib/usage/spool.ts";
import { AGENT_KEY_ID, openDoor } from "./gateway.ts";

/**
 * The gateway with its real books on the server's HTTP stack, in a process of its own, so that a crash is an exit and
 * memory is nobody else's. Arguments: upstream, path of the socket to listen on, folder for the spool. Answers each
 * IPC message with what it holds, after collecting garbage, and ends with its parent.
 */

export type TargetState = {
  openCalls: number;
  liveCalls: number;
  connections: number;
  heapBytes: number;
  rssBytes: number;
  /** Rows by agent label, since the last time asked. */
  rows: Record<string, number>;
  /** Anything thrown that nobody caught, and records that break their contract. */
  faults: string[];
};

const [upstreamUrl = "", socketPath = "", spoolDir = ""] = process.argv.slice(2);
const faults: string[] = [];
let rows: Record<string, number> = {};
process.on("uncaughtException", (error) => faults.push(`uncaught: ${error.stack}`));
process.on("unhandledRejection", (error) => faults.push(`unhandled: ${error instanceof Error ? error.stack : error}`));

const live = new LiveUsage({ clock: systemClock });
const spool = new Spool(spoolDir);
const { gateway } = await openDoor("node", upstreamUrl, {
  live,
  limits: new LimitBook({ clock: systemClock, use: live }),
  agentKeys: { find: (secret) => (secret === "hr_known" ? { id: AGENT_KEY_ID, name: "known" } : null) },
  recorder: {
    record: (call) => {
      spool.record(call);
      const parsed = CallRecord.safeParse(call);
      if (!parsed.success) faults.push(`record: ${parsed.error.message} ${JSON.stringify(call)}`);
      rows[call.agent] = (rows[call.agent] ?? 0) + 1;
    },
  },
  log: {
    debug() {},
    info() {},
    warn() {},
    error: (fields, message) => faults.push(`logged: ${message} ${JSON.stringify(fields)}`),
  },
});
const { server, door } = createAgentServer((req, res) => gateway.handleNode(req, res));
door.calls = gateway.calls;
server.listen(socketPath, () => process.send?.("ready"));

process.on("message", () => {
  server.getConnections((_, connections) => {
    const since = rows;
    rows = {};
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    const state: TargetState = {
      openCalls: gateway.openCalls,
      liveCalls: live.openCalls,
      connections,
      heapBytes: heapUsed + external,
      rssBytes: rss,
      rows: since,
      faults,
    };
    process.send?.(state);
  });
});
process.on("disconnect", () => process.exit(0));
