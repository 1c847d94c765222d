import type { IncomingMessage, ServerResponse } from "node:http";
import { DEFAULT_GATEWAY_SETTINGS } from "../access/schema.ts";
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import { Register } from "../kit/register.ts";
import { BatchBook } from "./batch-book.ts";
import type { GatewayContext } from "./context.ts";
import type { CredentialRules } from "./credential.ts";
import { Exchange } from "./exchange.ts";
import { type CallTaker, handleNode } from "./node-door.ts";
import { ownAnswers } from "./own-answer.ts";
import { ResponseCache } from "./response-cache.ts";
import type { Arrival, Sink } from "./sink.ts";
import type { TrafficDesk } from "./traffic-desk.ts";
import { DEFAULT_TIMEOUTS, type UpstreamTimeouts } from "./upstream-client.ts";
import { type ConfiguredUpstreams, type UpstreamOption, UpstreamSet } from "./upstream-set.ts";
import { PING_EVERY_MS } from "./waiting-sink.ts";
import { handleWeb } from "./web-door.ts";

export type GatewayOptions = {
  /** The environment's: where passed-through credentials go, and agent keys where no others are configured. */
  upstream: UpstreamOption;
  /** Those that agent keys' calls may go to, the environment's among them. */
  upstreams?: ConfiguredUpstreams;
  agentKeys: CredentialRules["agentKeys"];
  /** Holds agents to their settings; without it they are bound by nothing. */
  guard?: GatewayContext["guard"];
  settings?: GatewayContext["settings"];
  /** Default 10 s. */
  pingEveryMs?: number;
  /** Without it every call goes out at once. */
  traffic?: TrafficDesk | null;
  live: GatewayContext["live"];
  limits: GatewayContext["limits"];
  /** Takes the windows of claude.ai subscriptions; without it they are only kept on each call's row. */
  windows?: GatewayContext["windows"];
  /** Keeps answers for calls that ask for it; without it they are kept in memory of the gateway's own. */
  cache?: ResponseCache;
  /** Where clients reach this gateway, if not at the host that each of them names. */
  publicUrl?: string | null;
  /** Synchronous and quick: it is called before the last bytes of an answer go out. */
  recorder: GatewayContext["recorder"];
  clock: Clock;
  log: Log;
  /** Whether credentials other than agent keys go through untouched. */
  passThrough: boolean;
  /** Whether `x-headroom-agent` is believed of callers without an agent key. */
  believeLabels: boolean;
  timeouts?: Partial<UpstreamTimeouts>;
};

/** Forwards the Claude API as it is, and counts what passes. */
export type Gateway = {
  /** For requests that a Node server has read. */
  handleNode(req: IncomingMessage, res: ServerResponse): void;
  /** For a door that reads calls from connections by itself. */
  readonly calls: CallTaker;
  /** For a route handler, where no custom server can run. */
  handleWeb(request: Request): Promise<Response>;
  /** Calls that have arrived and not ended. */
  readonly openCalls: number;
  /**
   * Takes no new calls (503, to be tried again), lets open ones finish within the grace, then cuts them. Resolves when
   * every call is recorded and no connection to the upstream is left.
   */
  close(graceMs: number): Promise<void>;
};

export function createGateway(options: GatewayOptions): Gateway {
  const { agentKeys, passThrough, log } = options;
  const traffic = options.traffic ?? null;
  const upstreams = new UpstreamSet({
    ...{ environment: options.upstream, configured: options.upstreams ?? null, traffic, log },
    timeouts: { ...DEFAULT_TIMEOUTS, ...options.timeouts },
  });
  const context: GatewayContext = {
    upstreams,
    credentials: { agentKeys, upstreams, passThrough },
    traffic,
    live: options.live,
    limits: options.limits,
    guard: options.guard ?? null,
    settings: options.settings ?? { current: DEFAULT_GATEWAY_SETTINGS },
    pingEveryMs: options.pingEveryMs ?? PING_EVERY_MS,
    windows: options.windows ?? { observe() {} },
    batches: new BatchBook(),
    cache: options.cache ?? new ResponseCache({ clock: options.clock, log: options.log }),
    publicUrl: options.publicUrl ?? null,
    recorder: options.recorder,
    clock: options.clock,
    log,
    believeLabels: options.believeLabels,
  };
  const open = new Register<Exchange>();
  let closing: Promise<void> | null = null;
  let onIdle: (() => void) | null = null;

  const accept = (arrival: Arrival, sink: Sink): Exchange => {
    const exchange = new Exchange(context, arrival, sink, () => {
      open.delete(id);
      if (open.size === 0) onIdle?.();
    });
    const id = open.add(exchange);
    return exchange;
  };
  const run = (exchange: Exchange) => {
    if (closing === null) exchange.run();
    else exchange.refuse(ownAnswers.closing());
  };
  const close = async (graceMs: number) => {
    options.traffic?.drain();
    if (open.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      for (const exchange of open.all()) exchange.cut();
    }
    await upstreams.close();
  };

  const calls: CallTaker = { accept, run };

  return {
    calls,
    handleNode: (req, res) => handleNode(req, res, calls),
    handleWeb: (request) => handleWeb(request, calls),
    get openCalls() {
      return open.size;
    },
    close: (graceMs) => {
      closing ??= close(graceMs);
      return closing;
    },
  };
}
