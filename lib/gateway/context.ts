import type { Admission, AdmitRequest, Denial } from "../access/agent-guard.ts";
import type { GatewaySettings } from "../access/schema.ts";
import type { ObservedLimit } from "../anthropic/rate-limit-headers.ts";
import type { Clock } from "../kit/clock.ts";
import type { Log } from "../kit/log.ts";
import type { Place } from "../limits/place.ts";
import type { CallPlace, OpenCall } from "../usage/live-usage.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { CredentialRules } from "./credential.ts";
import type { UpstreamClient } from "./upstream-client.ts";

/** What every call of a gateway shares. */
export type GatewayContext = {
  upstreamName: string;
  client: UpstreamClient;
  credentials: CredentialRules;
  live: { open(place: CallPlace): OpenCall };
  limits: { observe(place: Place, observed: ObservedLimit[], sentAtMs: number): void };
  /** Holds agents to their settings; null where none has any. */
  guard: { admit(request: AdmitRequest): Admission; judgeAgent(agentId: string): Denial | null } | null;
  /** As operators have set them at the moment. */
  settings: { readonly current: GatewaySettings };
  recorder: { record(call: CallRecord): void };
  clock: Clock;
  log: Log;
  believeLabels: boolean;
};
