import { ApiError, overloaded } from "./api-error.ts";

/** What can be made to go wrong, for one call by `x-simulator-fault` or for a share of all calls. */
export const FAULTS = [
  /** A 429 that says nothing: neither rate-limit headers nor `retry-after`. */
  "429-windowless",
  /** The tier's monthly spend cap: a 429 without `retry-after`, for waiting does not help. */
  "spend-cap",
  /** Use grew too fast: a 429 with `retry-after` though the buckets hold enough. */
  "acceleration",
  "529",
  "500",
  /** Halfway through, the stream falls silent except for pings, until the client leaves. */
  "stall",
  /** Halfway through, the connection is destroyed. */
  "cut",
  /** Halfway through, an `error` event ends the stream after its 200. A plain call gets the 529 itself. */
  "error-event",
  /** Headers come only after a long while. */
  "slow-headers",
  /** The connection is reset before any header. */
  "reset",
  /** `stop_reason: "refusal"` before any output: not billed, but counted against the limits. */
  "refusal",
] as const;
export type Fault = (typeof FAULTS)[number];

/** Share of calls, from 0 to 1, that meet each fault. Their sum is at most 1. */
export type FaultRates = Partial<Record<Fault, number>>;

/** Which fault a call meets, by a draw from 0 up to 1. */
export function drawFault(rates: FaultRates, draw: number): Fault | null {
  let threshold = 0;
  for (const fault of FAULTS) {
    threshold += rates[fault] ?? 0;
    if (draw < threshold) return fault;
  }
  return null;
}

/** The answer of a fault that refuses the call outright, or null. `draw` varies what the real API varies. */
export function refusalOf(fault: Fault, streamed: boolean, draw: number): ApiError | null {
  switch (fault) {
    case "429-windowless":
      return new ApiError(
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
      );
    case "spend-cap":
      return new ApiError(
        429,
        "rate_limit_error",
        "Your organization has crossed the monthly API usage threshold of its usage tier. Access returns at 00:00 UTC on the first day of next month. You may contact sales at https://claude.com/contact-sales to discuss your options.",
        { errorCode: "enforced_spend_limit_reached", shouldRetry: false },
      );
    case "acceleration":
      return new ApiError(
        429,
        "rate_limit_error",
        "This request would exceed your organization's maximum usage increase rate for input tokens per minute. Please back off and scale up your input tokens usage more gradually to stay within the acceleration limit. For details, refer to: https://docs.claude.com/en/api/rate-limits.",
        { errorCode: "ramp_limit_exceeded", headers: { "retry-after": String(5 + Math.floor(draw * 6)) } },
      );
    case "529":
      return overloaded();
    case "500":
      return new ApiError(500, "api_error", "Internal server error");
    case "error-event":
      return streamed ? null : overloaded();
    default:
      return null;
  }
}
