import { type Lane, publishedLimits, type Tier } from "../anthropic/pools.ts";
import { type Charge, chargeOf, takePrompt, takeTokens } from "./charge.ts";
import { METER_LIMITERS, type MeterLimiter, type MeterLimits, type MeterOptions, PoolMeter } from "./pool-meter.ts";
import { laneHeaders, rateLimitHeaders } from "./rate-limit-headers.ts";
import { isSurface, type Surface, surfaceLimit } from "./surfaces.ts";

/** By pool (`opus-5.5`), by pool and lane (`opus-5.5/fast`, `opus-4.x/priority`), or by surface (requests only). */
/** Of one bucket: its limit a minute, what is in it now, and what was taken out of it since the start. */
export type BucketState = { limit: number; level: number; taken: number };

export type LimitOverrides = Partial<Record<string, Partial<MeterLimits>>>;

/** Fast mode has a pool of its own whose figures are unpublished: a quarter of the standard tokens stands in. */
const FAST_SHARE = 0.25;

export type Admission =
  | { admitted: true; lane: Lane; charge: Charge; headers: Record<string, string> }
  | {
      admitted: false;
      lane: Lane;
      /** The limiter that keeps the call waiting longest: the one its message names. */
      limiter: MeterLimiter;
      limit: number;
      retryAfterSeconds: number;
      headers: Record<string, string>;
      /** Use grew too fast; every bucket would have held enough. */
      acceleration?: true;
    };

/** A call as admission sees it. `inputTokens` is what counts: uncached input and cache writes. */
export type AdmissionRequest = {
  pool: string;
  lane: Lane;
  inputTokens: number;
  /** Held in accounting mode `reserve`. */
  maxTokens?: number;
  /** What the answer will be: weighed by the limit on growth alone. */
  outputTokens?: number;
};

/**
 * Every bucket of one organisation, made when first asked for, so full then. The priority lane draws on a commitment and
 * on the ordinary limits; the fast lane draws requests from the ordinary pool and tokens from its own.
 */
export class OrganizationLimits {
  #tier: Tier;
  #overrides: LimitOverrides = {};
  #meters = new Map<string, PoolMeter>();
  #meterOptions: MeterOptions;

  constructor(tier: Tier, overrides: LimitOverrides = {}, meterOptions: Partial<MeterOptions> = {}) {
    this.#tier = tier;
    this.#overrides = structuredClone(overrides);
    this.#meterOptions = { accounting: "continuous", acceleration: null, ...meterOptions };
  }

  /** Limits in force for a key. Pools without published figures get those of Fable 5.x. */
  limitsOf(key: string): MeterLimits {
    const [pool = key, lane] = key.split("/");
    const base = isSurface(pool) ? surfaceLimits(pool, this.#tier) : this.#published(pool);
    const scaled =
      lane === "fast"
        ? {
            requests: base.requests,
            input_tokens: Math.ceil(base.input_tokens * FAST_SHARE),
            output_tokens: Math.ceil(base.output_tokens * FAST_SHARE),
          }
        : base;
    return { ...scaled, ...this.#overrides[key] };
  }

  setLimits(overrides: LimitOverrides, nowMs: number): void {
    for (const [key, limits] of Object.entries(overrides)) {
      if (!limits) continue;
      this.#overrides[key] = { ...this.#overrides[key], ...limits };
      this.#meters.get(key)?.setLimits(limits, nowMs);
    }
  }

  meter(key: string, nowMs: number): PoolMeter {
    let meter = this.#meters.get(key);
    if (!meter) {
      meter = new PoolMeter(this.limitsOf(key), nowMs, this.#meterOptions);
      this.#meters.set(key, meter);
    }
    return meter;
  }

  /** Every pool met so far with its levels now and what was taken since the start, for `GET /simulator/limits`. */
  levels(nowMs: number): Record<string, Record<MeterLimiter, BucketState>> {
    return Object.fromEntries(
      [...this.#meters].map(([key, meter]) => {
        meter.settle(nowMs);
        const { requests, input_tokens, output_tokens } = meter.buckets;
        const show = ({ limit, level, taken }: BucketState) => ({ limit, level, taken });
        return [
          key,
          { requests: show(requests), input_tokens: show(input_tokens), output_tokens: show(output_tokens) },
        ];
      }),
    );
  }

  /** Whether the organisation holds a Priority Tier commitment for the pool. */
  hasPriority(pool: string): boolean {
    return this.#overrides[`${pool}/priority`] !== undefined;
  }

  /** Somebody else's use, which the caller of the simulator never sees in an answer. */
  drain(key: string, amounts: Partial<MeterLimits>, nowMs: number): void {
    const meter = this.meter(key, nowMs);
    meter.settle(nowMs);
    for (const limiter of METER_LIMITERS) meter.buckets[limiter].take(amounts[limiter] ?? 0);
  }

  /** One request of a surface with a limit of its own. Null when admitted, else seconds to wait. */
  admitRequest(surface: Surface, nowMs: number): { limit: number; retryAfterSeconds: number } | null {
    const meter = this.meter(surface, nowMs);
    meter.settle(nowMs);
    const bucket = meter.buckets.requests;
    const waitMs = bucket.msUntil(1);
    if (waitMs > 0) return { limit: bucket.limit, retryAfterSeconds: wholeSeconds(waitMs) };
    bucket.take(1);
    return null;
  }

  /**
   * Admits a call when it fits every bucket it draws on, and charges its request and input at once. Output only has to
   * be above zero, for it is charged as it is made; in accounting mode `reserve` the whole of `max_tokens` has to fit.
   */
  admit(call: AdmissionRequest, nowMs: number): Admission {
    const standard = this.meter(call.pool, nowMs);
    standard.settle(nowMs);
    if (call.lane === "fast") return this.#admitFast(call, standard, nowMs);
    const refused = shortIn(standard, METER_LIMITERS, call);
    const headers = (lane: Record<string, string>) => ({ ...rateLimitHeaders(standard, nowMs, refused), ...lane });
    if (!this.hasPriority(call.pool) || call.lane !== "priority") {
      if (refused.length > 0) return refuse("standard", standard, refused, call, headers({}));
      if (growsTooFast(standard, call, nowMs)) return refuseGrowth("standard", standard, headers({}));
      const held = takePrompt([standard], call);
      return { admitted: true, lane: "standard", charge: chargeOf([standard], held), headers: headers({}) };
    }
    const priority = this.meter(`${call.pool}/priority`, nowMs);
    priority.settle(nowMs);
    // A commitment that is used up does not refuse: the call is served at the standard tier.
    const covered = shortIn(priority, ["input_tokens", "output_tokens"], call).length === 0;
    const lane = covered ? "priority" : "standard";
    const laneNow = () => headers(laneHeaders("priority", priority, nowMs));
    if (refused.length > 0) return refuse(lane, standard, refused, call, laneNow());
    if (growsTooFast(standard, call, nowMs)) return refuseGrowth(lane, standard, laneNow());
    const meters = covered ? [standard, priority] : [standard];
    const held = takePrompt(meters, call);
    return { admitted: true, lane, charge: chargeOf(meters, held), headers: laneNow() };
  }

  #admitFast(call: AdmissionRequest, standard: PoolMeter, nowMs: number): Admission {
    const fast = this.meter(`${call.pool}/fast`, nowMs);
    fast.settle(nowMs);
    const refusedRequests = shortIn(standard, ["requests"], call);
    const refusedTokens = shortIn(fast, ["input_tokens", "output_tokens"], call);
    const headers = () => ({
      ...rateLimitHeaders(standard, nowMs, refusedRequests),
      ...laneHeaders("fast", fast, nowMs, refusedTokens),
    });
    if (refusedTokens.length > 0) return refuse("fast", fast, refusedTokens, call, headers());
    if (refusedRequests.length > 0) return refuse("fast", standard, refusedRequests, call, headers());
    if (growsTooFast(fast, call, nowMs)) return refuseGrowth("fast", fast, headers());
    standard.buckets.requests.take(1);
    const held = takeTokens([fast], call);
    return { admitted: true, lane: "fast", charge: chargeOf([fast], held), headers: headers() };
  }

  #published(pool: string): MeterLimits {
    const own = publishedLimits(pool, this.#tier);
    const fallback = publishedLimits("fable-5.x", this.#tier);
    return {
      requests: own.requests ?? fallback.requests ?? 1_000,
      input_tokens: own.input_tokens ?? fallback.input_tokens ?? 500_000,
      output_tokens: own.output_tokens ?? fallback.output_tokens ?? 100_000,
    };
  }
}

function surfaceLimits(surface: Surface, tier: Tier): MeterLimits {
  return { requests: surfaceLimit(surface, tier), input_tokens: 1, output_tokens: 1 };
}

/** The limiters of a settled meter that the call does not fit into now. */
function shortIn(meter: PoolMeter, limiters: readonly MeterLimiter[], call: AdmissionRequest): MeterLimiter[] {
  return limiters.filter((limiter) => {
    const { level } = meter.buckets[limiter];
    if (limiter !== "output_tokens") return level < needOf(limiter, meter, call);
    const held = meter.outputHold(call.maxTokens ?? 0);
    return held > 0 ? level < held : level <= 0;
  });
}

/** Output has to reach one whole token again before a call that found it empty is let in. */
function needOf(limiter: MeterLimiter, meter: PoolMeter, call: AdmissionRequest): number {
  if (limiter === "requests") return 1;
  return limiter === "input_tokens" ? call.inputTokens : Math.max(1, meter.outputHold(call.maxTokens ?? 0));
}

function refuse(
  lane: Lane,
  meter: PoolMeter,
  refused: readonly MeterLimiter[],
  call: AdmissionRequest,
  headers: Record<string, string>,
): Admission {
  const waitMs = (limiter: MeterLimiter) => meter.buckets[limiter].msUntil(needOf(limiter, meter, call));
  const limiter = refused.reduce((worst, next) => (waitMs(next) > waitMs(worst) ? next : worst));
  return {
    admitted: false,
    lane,
    limiter,
    limit: meter.buckets[limiter].limit,
    retryAfterSeconds: wholeSeconds(waitMs(limiter)),
    headers,
  };
}

function growsTooFast(meter: PoolMeter, call: AdmissionRequest, nowMs: number): boolean {
  if (!meter.acceleration) return false;
  const size = { inputTokens: call.inputTokens, outputTokens: call.outputTokens ?? 0 };
  const { input_tokens, output_tokens } = meter.buckets;
  const limits = { input_tokens: input_tokens.limit, output_tokens: output_tokens.limit };
  if (meter.acceleration.refuses(size, limits, nowMs)) return true;
  meter.acceleration.add(size, nowMs);
  return false;
}

/** How long to wait is the caller's to draw: five to ten seconds, whatever the buckets hold. */
function refuseGrowth(lane: Lane, meter: PoolMeter, headers: Record<string, string>): Admission {
  const { limit } = meter.buckets.input_tokens;
  return { admitted: false, lane, limiter: "input_tokens", limit, retryAfterSeconds: 5, headers, acceleration: true };
}

function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}
