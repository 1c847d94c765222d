import { z } from "zod";
import { Alert } from "../alerts/schema.ts";
import { PoolState } from "../limits/schema.ts";
import { TrafficClass } from "../traffic/schema.ts";
import { CallRecord } from "../usage/schema.ts";

/** Use per second of one pool, one entry a second. The newest seconds hold estimates for streams still open. */
export const SecondSeries = z.object({
  /** Epoch seconds of the first entry. */
  start: z.int(),
  requests: z.array(z.number()),
  /** Uncached input: counted. */
  input: z.array(z.number()),
  /** Cache writes: counted. */
  cacheWrite: z.array(z.number()),
  /** Cache reads: free, except in pools whose `cacheReadsCount` is set. */
  cacheRead: z.array(z.number()),
  output: z.array(z.number()),
});
export type SecondSeries = z.infer<typeof SecondSeries>;

export const AgentUse = z.object({
  agent: z.string(),
  /** Of the last 60 s. */
  calls: z.int(),
  countedInput: z.number(),
  cacheRead: z.number(),
  output: z.number(),
  refused: z.int(),
  /** By `PoolState.key`: this agent's counted input, output and requests there in the last 60 s. */
  pools: z.record(z.string(), z.object({ requests: z.number(), input_tokens: z.number(), output_tokens: z.number() })),
  costTodayNanoUsd: z.int(),
});
export type AgentUse = z.infer<typeof AgentUse>;

export const GatewayState = z.object({
  version: z.string(),
  url: z.string(),
  upstreamUrl: z.string(),
  upstream: z.string(),
  /** Which database: embedded, postgres or supabase. */
  database: z.enum(["embedded", "postgres", "supabase"]),
  databaseReachable: z.boolean(),
  /** Calls recorded but not yet in the database. */
  spoolRows: z.int(),
  /** Null while recording to disk works; else what is wrong. */
  recordingFault: z.string().nullable(),
  /** When rules were last evaluated; null before the first time. */
  evaluatedAt: z.string().nullable(),
  openCalls: z.int(),
  hasAgentCredential: z.boolean(),
  /** Whether callers' own credentials go through. */
  passThrough: z.boolean(),
  channels: z.int(),
  /** Set while the built-in simulator is the upstream. */
  demo: z.boolean(),
});
export type GatewayState = z.infer<typeof GatewayState>;

/** The overview at one instant. `/api/live` sends one a second; the page never adds to it, only draws it. */
export const Overview = z.object({
  at: z.string(),
  /** False until the first call has ever been recorded: the page then shows how to point a client here. */
  hasCalls: z.boolean(),
  gateway: GatewayState,
  pools: z.array(PoolState),
  /** By `PoolState.key`. Whole (960 s) in the first event, afterwards only the last 90 seconds, which replace theirs. */
  series: z.record(z.string(), SecondSeries),
  agents: z.array(AgentUse),
  /** Newest first: 50 in the first event, afterwards those since the event before. */
  calls: z.array(CallRecord),
  /** Pending, firing and recovering. */
  alerts: z.array(Alert),
  /** Refused calls of the last 60 minutes by cause, by minute, oldest first. */
  refusals: z.array(z.object({ refusal: z.string(), total: z.int(), minutes: z.array(z.int()) })),
  /** By class, most important first: what waits for room now, and how long calls have waited in the last 5 minutes. */
  queue: z.array(
    z.object({
      class: TrafficClass,
      waiting: z.int(),
      oldestWaitS: z.number(),
      p95WaitS: z.number().nullable(),
    }),
  ),
  cost: z.object({
    todayNanoUsd: z.int(),
    lastMinuteNanoUsd: z.int(),
    /** Since 00:00 UTC, one entry an hour. */
    hoursNanoUsd: z.array(z.int()),
    unpricedCallsToday: z.int(),
  }),
});
export type Overview = z.infer<typeof Overview>;
