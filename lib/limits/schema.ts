import { z } from "zod";
import { FAMILIES, LANES, LIMITERS } from "../anthropic/pools.ts";

/** Where a limit was learned, best first. */
export const LimitSource = z.enum(["header", "rate_limits_api", "operator", "published"]);
export type LimitSource = z.infer<typeof LimitSource>;

/** What is stored of one limiter: the last that was heard of it. */
export const LimitRecord = z.object({
  upstream: z.string(),
  pool: z.string(),
  lane: z.enum(LANES),
  limiter: z.enum(LIMITERS),
  /** Requests or tokens per minute. */
  limit: z.int().min(0),
  /** As in the header, tokens rounded to thousands by the upstream; null from any other source. */
  remaining: z.int().nullable(),
  /** When the bucket will be full, by the upstream's clock. Never a waiting time. */
  resetAt: z.string().nullable(),
  source: LimitSource,
  observedAt: z.string(),
});
export type LimitRecord = z.infer<typeof LimitRecord>;

export const LimitChange = z.object({
  upstream: z.string(),
  pool: z.string(),
  lane: z.enum(LANES),
  limiter: z.enum(LIMITERS),
  before: z.int(),
  after: z.int(),
  source: LimitSource,
  at: z.string(),
});
export type LimitChange = z.infer<typeof LimitChange>;

/** One limiter now, as gauges, `/api/limits` and alert rules see it. */
export const LimiterState = z.object({
  limiter: z.enum(LIMITERS),
  limit: z.int().min(0),
  /** What the bucket still holds now: the last header, refilled since, less what was used since. Null without headers. */
  remaining: z.number().nullable(),
  /** Counted use of the last 60 seconds that went through Headroom. */
  usedLastMinute: z.number(),
  /** The tighter of limit − remaining and `usedLastMinute`. */
  used: z.number(),
  /** used / limit: 0.8 is 80 %. */
  utilisation: z.number(),
  source: LimitSource,
  observedAt: z.string().nullable(),
  resetAt: z.string().nullable(),
  /** A band from two averages (15 s and 60 s); null when it is not approaching within 10 minutes. */
  secondsToLimit: z.object({ min: z.number(), max: z.number() }).nullable(),
  /** Until the bucket is full again if nothing more came; null without headers. */
  secondsToFull: z.number().nullable(),
});
export type LimiterState = z.infer<typeof LimiterState>;

/**
 * live: headers within 2 minutes. stale: calls flow or flowed lately but headers are older. idle: no calls in 10
 * minutes. unseen: never called; limits from the published table.
 */
export const PoolState = z.object({
  /** `upstream/pool/lane`. */
  key: z.string(),
  upstream: z.string(),
  pool: z.string(),
  name: z.string(),
  family: z.enum(FAMILIES),
  lane: z.enum(LANES),
  state: z.enum(["live", "stale", "idle", "unseen"]),
  /** Calls sent and not yet ended. */
  openCalls: z.int(),
  lastCallAt: z.string().nullable(),
  limiters: z.array(LimiterState),
});
export type PoolState = z.infer<typeof PoolState>;

/** One window of a claude.ai subscription, as its last answer told it. No limiter of any pool. */
export const WindowState = z.object({
  upstream: z.string(),
  /** The account that calls say they are of; null where they do not. */
  account: z.string().nullable(),
  /** `five_hour`, `seven_day`, `seven_day_opus`, `overage`, … */
  window: z.string(),
  /** The share that is spent: 0.8 is 80 %. */
  utilisation: z.number().min(0).nullable(),
  resetAt: z.string().nullable(),
  /** `allowed`, `allowed_warning` or `rejected`. */
  status: z.string().nullable(),
  surpassedThreshold: z.number().nullable(),
  /** Whether this is the window that the upstream names as the binding one. */
  binds: z.boolean(),
  observedAt: z.string(),
});
export type WindowState = z.infer<typeof WindowState>;
