import { z } from "zod";
import { LANES, LIMITERS } from "../anthropic/pools.ts";

/** A call's priority, highest first. */
export const CLASSES = ["critical", "high", "normal", "low"] as const;
export const TrafficClass = z.enum(CLASSES);
export type TrafficClass = z.infer<typeof TrafficClass>;

/**
 * enforce: calls wait for their turn. observe: each is judged, the judgement recorded, and sent at once. off: sent at
 * once, unjudged.
 */
export const TrafficMode = z.enum(["enforce", "observe", "off"]);
export type TrafficMode = z.infer<typeof TrafficMode>;

/** Why a call was refused by Headroom itself. The last three are no matter of limits. */
export const ShedReason = z.enum([
  "queue_full",
  "agent_queue_full",
  "predicted_wait",
  "deadline",
  "upstream_stopped",
  "upstream_down",
  "draining",
]);
export type ShedReason = z.infer<typeof ShedReason>;

/**
 * What stood in a call's way. limiter: its bucket, or its forecast. burst: the room kept for critical's next burst.
 * class: a call of that class was before it, itself held by `limiter`. agent: its own agent's or another's earlier calls.
 * ramp and pause: the upstream asked for slower growth, or for silence. backoff: its own retry-after. probing: the limits
 * are unknown and three calls are out to learn them. upstream: none is well.
 */
export const HeldBy = z.object({
  by: z.enum(["limiter", "burst", "class", "agent", "ramp", "pause", "backoff", "probing", "upstream"]),
  limiter: z.enum(LIMITERS).nullable(),
  class: TrafficClass.nullable(),
});
export type HeldBy = z.infer<typeof HeldBy>;

/** Why this upstream. failover: the agent's own one was unwell. cache: its prompt cache is there. */
export const UpstreamReason = z.enum(["only", "headroom", "cache", "failover"]);
export type UpstreamReason = z.infer<typeof UpstreamReason>;

/** What the books keep of a call's way through the queue. */
export const Explanation = z.object({
  mode: TrafficMode,
  class: TrafficClass,
  /** Arrival to the last sending, in seconds. 0 where no call is held, unless it waited before that was so. */
  waitS: z.number().min(0),
  /** What it would have waited in all, as far as could be told when it was sent; only under `observe`. */
  wouldWaitS: z.number().min(0).nullable(),
  /** What held it longest at the head of the queue, or who was before it. Null when nothing did. */
  heldBy: HeldBy.nullable(),
  /** Calls of its own and higher classes that waited when it arrived. */
  position: z.int().min(0),
  /** Sendings, this one included. */
  attempts: z.int().min(0),
  upstream: z.string().nullable(),
  upstreamReason: UpstreamReason.nullable(),
  /** The model that was asked for, where an operator's rule had another one answer; else null. */
  fallbackFrom: z.string().nullable().default(null),
});
export type Explanation = z.infer<typeof Explanation>;

export const Breaker = z.enum(["closed", "open", "probing"]);
export type Breaker = z.infer<typeof Breaker>;

/** An upstream as traffic control sees it. */
export const UpstreamHealth = z.object({
  upstream: z.string(),
  breaker: Breaker,
  /** Seconds until the next probe; null while all is well. */
  probeInS: z.number().min(0).nullable(),
  /** Set while the upstream refuses for a cause that waiting does not cure. */
  stopped: z.enum(["spend_cap", "billing", "authentication"]).nullable(),
});
export type UpstreamHealth = z.infer<typeof UpstreamHealth>;

/** The mirror of one limiter. Levels may be negative, for output is charged after it was made. */
export const LedgerLevel = z.object({
  limiter: z.enum(LIMITERS),
  limit: z.number(),
  level: z.number(),
  capacity: z.number(),
  /** Kept from each class, as a share of the capacity. */
  reserves: z.record(TrafficClass, z.number()),
});
export type LedgerLevel = z.infer<typeof LedgerLevel>;

export const LedgerState = z.object({
  upstream: z.string(),
  pool: z.string(),
  lane: z.enum(LANES),
  known: z.boolean(),
  accounting: z.enum(["continuous", "at-end", "reserve"]),
  levels: z.array(LedgerLevel),
  openStreams: z.int(),
  /** Seconds of limit a second that the ramp lets through; null when it is off. */
  rampRate: z.number().nullable(),
  /** Seconds for which nothing is sent, because the upstream asked for it. */
  pausedForS: z.number(),
});
export type LedgerState = z.infer<typeof LedgerState>;

export const QueueState = z.object({
  /** The upstreams that serve it together: `default`, or one passed-through credential. */
  group: z.string(),
  pool: z.string(),
  lane: z.enum(LANES),
  mode: TrafficMode,
  classes: z.record(TrafficClass, z.object({ waiting: z.int(), oldestWaitS: z.number(), service: z.number() })),
});
export type QueueState = z.infer<typeof QueueState>;

export const TrafficSnapshot = z.object({
  /** How pools are treated, and those that are treated otherwise, by their ids. */
  mode: TrafficMode,
  poolModes: z.record(z.string(), TrafficMode),
  waiting: z.int(),
  waitingBytes: z.int(),
  open: z.int(),
  queues: z.array(QueueState),
  ledgers: z.array(LedgerState),
  upstreams: z.array(UpstreamHealth),
  /** Since the start. */
  counts: z.object({
    arrived: z.int(),
    admitted: z.int(),
    requeued: z.int(),
    canceled: z.int(),
    shed: z.record(ShedReason, z.int()),
  }),
});
export type TrafficSnapshot = z.infer<typeof TrafficSnapshot>;
