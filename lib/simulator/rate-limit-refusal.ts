import { ApiError } from "./api-error.ts";
import { refusalOf } from "./faults.ts";
import type { Admission } from "./organization-limits.ts";
import type { MeterLimiter } from "./pool-meter.ts";

const LIMITER_WORDS: Record<MeterLimiter, string> = {
  requests: "requests",
  input_tokens: "input tokens",
  output_tokens: "output tokens",
};

/** The 429 of an admission that was refused, in the API's words. `draw` varies what the real API varies. */
export function rateLimited(
  refused: Extract<Admission, { admitted: false }>,
  context: { organizationId: string; model: string; draw: number },
): ApiError {
  const growth = refused.acceleration && refusalOf("acceleration", false, context.draw);
  return growth || exceeds(refused, context);
}

/** The same for a surface that limits requests alone. `model` is named where there is one. */
export function exceeds(
  refused: { limiter?: MeterLimiter; limit: number; retryAfterSeconds: number },
  context: { organizationId: string; model: string | null },
): ApiError {
  const words = `${refused.limit.toLocaleString("en-US")} ${LIMITER_WORDS[refused.limiter ?? "requests"]}`;
  const about = `org: ${context.organizationId}${context.model === null ? "" : `, model: ${context.model}`}`;
  const message = `This request would exceed your organization's rate limit of ${words} per minute (${about}). For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later. You may also contact sales at https://claude.com/contact-sales to discuss your options for a rate limit increase.`;
  return new ApiError(429, "rate_limit_error", message, {
    headers: { "retry-after": String(refused.retryAfterSeconds) },
  });
}
