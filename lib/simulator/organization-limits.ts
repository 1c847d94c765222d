import { type Lane, publishedLimits, type Tier } from "../anthropic/pools.ts";
import { METER_LIMITERS, type MeterLimiter, type MeterLimits, PoolMeter, type Production } from "./pool-meter.ts";
import { laneHeaders, rateLimitHeaders } from "./rate-limit-headers.ts";

/** By pool (`opus-5.5`), by pool and lane (`opus-5.5/fast`, `opus-4.x/priority`), or `count_tokens` (requests only). */
export type LimitOverrides = Partial<Record<string, Partial<MeterLimits>>>;

export const COUNT_TOKENS = "count_tokens";

const COUNT_TOKENS_RPM: Record<Tier, number> = { start: 2_000, build: 4_000, scale: 8_000 };

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
    };

/** What an admitted call goes on to cost. */
export type Charge = {
  /** Corrects the input that was estimated at admission; a negative difference gives back. */
  correctInput(difference: number, nowMs: number): void;
  begin(production: Production, nowMs: number): void;
  end(production: Production, nowMs: number): void;
};

/**
 * Every bucket of one organisation, made when first asked for, so full then. The priority lane draws on a commitment and
 * on the ordinary limits; the fast lane draws requests from the ordinary pool and tokens from its own.
 */
export class OrganizationLimits {
  #tier: Tier;
  #overrides: LimitOverrides = {};
  #meters = new Map<string, PoolMeter>();

  constructor(tier: Tier, overrides: LimitOverrides = {}) {
    this.#tier = tier;
    this.#overrides = structuredClone(overrides);
  }

  /** Limits in force for a key. Pools without published figures get those of Fable 5.x. */
  limitsOf(key: string): MeterLimits {
    const [pool = key, lane] = key.split("/");
    const base = pool === COUNT_TOKENS ? this.#countTokens() : this.#published(pool);
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
      meter = new PoolMeter(this.limitsOf(key), nowMs);
      this.#meters.set(key, meter);
    }
    return meter;
  }

  /** Every pool met so far with its levels now, for `GET /simulator/limits`. */
  levels(nowMs: number): Record<string, Record<MeterLimiter, { limit: number; level: number }>> {
    return Object.fromEntries(
      [...this.#meters].map(([key, meter]) => {
        meter.settle(nowMs);
        const { requests, input_tokens, output_tokens } = meter.buckets;
        const show = (bucket: { limit: number; level: number }) => ({ limit: bucket.limit, level: bucket.level });
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

  /** One request of `count_tokens`, whose limit is apart from all pools. Null when admitted, else seconds to wait. */
  admitCount(nowMs: number): { limit: number; retryAfterSeconds: number } | null {
    const meter = this.meter(COUNT_TOKENS, nowMs);
    meter.settle(nowMs);
    const bucket = meter.buckets.requests;
    const waitMs = bucket.msUntil(1);
    if (waitMs > 0) return { limit: bucket.limit, retryAfterSeconds: wholeSeconds(waitMs) };
    bucket.take(1);
    return null;
  }

  /**
   * Admits a call when it fits every bucket it draws on, and charges its request and input at once. `inputTokens` is what
   * counts: uncached input and cache writes. Output only has to be above zero: it is charged as it is made.
   */
  admit(call: { pool: string; lane: Lane; inputTokens: number }, nowMs: number): Admission {
    const standard = this.meter(call.pool, nowMs);
    standard.settle(nowMs);
    if (call.lane === "fast") return this.#admitFast(call, standard, nowMs);
    const refused = shortIn(standard, METER_LIMITERS, call.inputTokens);
    const headers = (lane: Record<string, string>) => ({ ...rateLimitHeaders(standard, nowMs, refused), ...lane });
    if (!this.hasPriority(call.pool) || call.lane !== "priority") {
      if (refused.length > 0) return refuse("standard", standard, refused, call.inputTokens, headers({}));
      takePrompt([standard], call.inputTokens);
      return { admitted: true, lane: "standard", charge: chargeOf([standard]), headers: headers({}) };
    }
    const priority = this.meter(`${call.pool}/priority`, nowMs);
    priority.settle(nowMs);
    // A commitment that is used up does not refuse: the call is served at the standard tier.
    const covered = shortIn(priority, ["input_tokens", "output_tokens"], call.inputTokens).length === 0;
    const lane = covered ? "priority" : "standard";
    if (refused.length > 0) {
      return refuse(lane, standard, refused, call.inputTokens, headers(laneHeaders("priority", priority, nowMs)));
    }
    const meters = covered ? [standard, priority] : [standard];
    takePrompt(meters, call.inputTokens);
    return {
      admitted: true,
      lane,
      charge: chargeOf(meters),
      headers: headers(laneHeaders("priority", priority, nowMs)),
    };
  }

  #admitFast(call: { pool: string; inputTokens: number }, standard: PoolMeter, nowMs: number): Admission {
    const fast = this.meter(`${call.pool}/fast`, nowMs);
    fast.settle(nowMs);
    const refusedRequests = shortIn(standard, ["requests"], 0);
    const refusedTokens = shortIn(fast, ["input_tokens", "output_tokens"], call.inputTokens);
    const headers = () => ({
      ...rateLimitHeaders(standard, nowMs, refusedRequests),
      ...laneHeaders("fast", fast, nowMs, refusedTokens),
    });
    if (refusedTokens.length > 0) return refuse("fast", fast, refusedTokens, call.inputTokens, headers());
    if (refusedRequests.length > 0) return refuse("fast", standard, refusedRequests, call.inputTokens, headers());
    standard.buckets.requests.take(1);
    fast.buckets.input_tokens.take(call.inputTokens);
    return { admitted: true, lane: "fast", charge: chargeOf([fast]), headers: headers() };
  }

  #countTokens(): MeterLimits {
    return { requests: COUNT_TOKENS_RPM[this.#tier], input_tokens: 1, output_tokens: 1 };
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

/** The limiters of a settled meter that the call does not fit into now. */
function shortIn(meter: PoolMeter, limiters: readonly MeterLimiter[], inputTokens: number): MeterLimiter[] {
  return limiters.filter((limiter) => {
    const { level } = meter.buckets[limiter];
    return limiter === "output_tokens" ? level <= 0 : level < needOf(limiter, inputTokens);
  });
}

/** Output has to reach one whole token again before a call that found it empty is let in. */
function needOf(limiter: MeterLimiter, inputTokens: number): number {
  return limiter === "input_tokens" ? inputTokens : 1;
}

function refuse(
  lane: Lane,
  meter: PoolMeter,
  refused: readonly MeterLimiter[],
  inputTokens: number,
  headers: Record<string, string>,
): Admission {
  const waitMs = (limiter: MeterLimiter) => meter.buckets[limiter].msUntil(needOf(limiter, inputTokens));
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

function wholeSeconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}

function takePrompt(meters: readonly PoolMeter[], inputTokens: number): void {
  meters[0]?.buckets.requests.take(1);
  for (const meter of meters) meter.buckets.input_tokens.take(inputTokens);
}

function chargeOf(meters: readonly PoolMeter[]): Charge {
  return {
    correctInput: (difference, nowMs) => {
      for (const meter of meters) {
        meter.settle(nowMs);
        meter.buckets.input_tokens.take(difference);
      }
    },
    begin: (production, nowMs) => {
      for (const meter of meters) meter.begin(production, nowMs);
    },
    end: (production, nowMs) => {
      for (const meter of meters) meter.end(production, nowMs);
    },
  };
}
