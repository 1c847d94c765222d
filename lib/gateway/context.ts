import type { Admission, AdmitRequest, Denial } from "../access/agent-guard.ts";
import type { GatewaySettings } from "../access/schema.ts";
import type { ObservedLimit } from "../anthropic/rate-limit-headers.ts";
import type { UnifiedLimits } from "../anthropic/unified-windows.ts";
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import type { Place } from "../limits/place.ts";
import type { Subscriber } from "../limits/unified-book.ts";
import type { CallPlace, OpenCall } from "../usage/live-usage.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { BatchBook } from "./batch-book.ts";
import type { CredentialRules } from "./credential.ts";
import type { ResponseCache } from "./response-cache.ts";
import type { TrafficDesk } from "./traffic-desk.ts";
import type { UpstreamSet } from "./upstream-set.ts";

/** What every call of a gateway shares. */
export type GatewayContext = {
  upstreams: UpstreamSet;
  credentials: CredentialRules;
  live: { open(place: CallPlace): OpenCall };
  /** Decides when each call goes; null sends all at once. */
  traffic: TrafficDesk | null;
  limits: { observe(place: Place, observed: ObservedLimit[], sentAtMs: number): void };
  /** Holds agents to their settings; null where none has any. */
  guard: {
    admit(request: AdmitRequest): Admission;
    judgeAgent(agentId: string): Denial | null;
    judgeCall(agentId: string, model: string | null): Denial | null;
    readsBodies(agentId: string): boolean;
  } | null;
  /** As operators have set them at the moment. */
  settings: { readonly current: GatewaySettings };
  /** How long a client that is to be pinged waits in silence, and between pings. */
  pingEveryMs: number;
  /** Takes the windows of claude.ai subscriptions. */
  windows: { observe(subscriber: Subscriber, limits: UnifiedLimits, sentAtMs: number): void };
  batches: BatchBook;
  /** Answers for calls that ask to be answered from memory. */
  cache: ResponseCache;
  /** Where clients reach this gateway, where that is configured; else it is the host that each of them names. */
  publicUrl: string | null;
  recorder: { record(call: CallRecord): void };
  clock: Clock;
  log: Log;
  believeLabels: boolean;
};
