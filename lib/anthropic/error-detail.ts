import type { Lane } from "./pools.ts";
import { parseRateLimitHeaders } from "./rate-limit-headers.ts";
import { parseUnifiedWindows } from "./unified-windows.ts";

/** What an error body or an `error` event says. */
export type ErrorDetail = { type: string | null; code: string | null; message: string };

/**
 * Why a call was not served: each cause wants another reaction, though several share a status. The lane in which a
 * limiter was empty is the call's own.
 */
export type RefusalCause =
  | "requests"
  | "input_tokens"
  | "output_tokens"
  | "tokens"
  /** A 429 that tells when to come again, but not which limit it meant. */
  | "rate_limit"
  /** A 429 that tells neither a limit nor a time. */
  | "windowless"
  /** A window of a claude.ai subscription is spent. */
  | "subscription_window"
  | "acceleration"
  /** The usage tier's monthly cap, or one that is not told closer. */
  | "spend_cap"
  | "contract_spend_cap"
  /** A limit that the organisation or workspace set itself. */
  | "own_spend_cap"
  | "overloaded"
  | "authentication"
  | "permission"
  | "billing"
  | "invalid"
  | "not_found"
  | "too_large"
  | "timeout"
  | "upstream_fault";

/** Reads `{"type":"error","error":{"type","message","details":{"error_code"}}}`; nulls where it is something else. */
export function parseErrorDetail(body: unknown): ErrorDetail {
  const error = isObject(body) && isObject(body.error) ? body.error : {};
  const details = isObject(error.details) ? error.details : {};
  // OpenAI's shape has the code one floor higher.
  const code = text(details.error_code) ?? text(error.code);
  return { type: text(error.type), code, message: text(error.message) ?? "" };
}

/**
 * The cause of a refusal: `error_code` first, then `error.type`, then the status; wording and remainders only to tell
 * which limiter a 429 means. `lane` says whose remainders count.
 */
export function classifyRefusal(
  status: number,
  error: ErrorDetail,
  rateLimitHeaders: Readonly<Record<string, string>> = {},
  lane: Lane = "standard",
): RefusalCause {
  const byCode = error.code === null ? undefined : CAUSE_BY_CODE[error.code];
  if (byCode) return byCode;
  if (error.message.startsWith("You have reached your specified")) return "own_spend_cap";
  if (error.type === "rate_limit_error" || (status === 429 && error.type !== "billing_error")) {
    return limiterOf(error.message, rateLimitHeaders, lane);
  }
  return (error.type === null ? undefined : CAUSE_BY_TYPE[error.type]) ?? causeByStatus(status);
}

const CAUSE_BY_CODE: Record<string, RefusalCause | undefined> = {
  ramp_limit_exceeded: "acceleration",
  enforced_spend_limit_reached: "spend_cap",
  contract_spend_limit_reached: "contract_spend_cap",
  linked_organization_spend_limit_reached: "spend_cap",
  linked_organization_billing_unavailable: "billing",
};

const CAUSE_BY_TYPE: Record<string, RefusalCause | undefined> = {
  overloaded_error: "overloaded",
  authentication_error: "authentication",
  permission_error: "permission",
  billing_error: "billing",
  invalid_request_error: "invalid",
  not_found_error: "not_found",
  request_too_large: "too_large",
  timeout_error: "timeout",
  api_error: "upstream_fault",
};

function causeByStatus(status: number): RefusalCause {
  switch (status) {
    case 401:
      return "authentication";
    case 402:
      return "billing";
    case 403:
      return "permission";
    case 404:
      return "not_found";
    case 408:
    case 504:
      return "timeout";
    case 413:
      return "too_large";
    case 529:
      return "overloaded";
    default:
      return status >= 500 ? "upstream_fault" : "invalid";
  }
}

/** The message names the limiter that was in the way; where it does not, the one with nothing left was. */
function limiterOf(message: string, headers: Readonly<Record<string, string>>, lane: Lane): RefusalCause {
  if (/usage increase rate|acceleration|\bramp\b/i.test(message)) return "acceleration";
  if (/monthly API usage|spend(?:ing)? (?:limit|cap)/i.test(message)) return "spend_cap";
  if (/input tokens per minute/i.test(message)) return "input_tokens";
  if (/output tokens per minute/i.test(message)) return "output_tokens";
  if (/requests per (?:minute|second)/i.test(message)) return "requests";
  if (/tokens per (?:minute|day)/i.test(message)) return "tokens";
  const unified = parseUnifiedWindows(headers);
  const windows = unified === null ? [] : [unified, ...unified.windows.filter(({ window }) => window !== "overage")];
  if (windows.some(({ status }) => status === "rejected")) return "subscription_window";
  const empty = parseRateLimitHeaders(headers).filter((observed) => observed.remaining === 0);
  const limiter = (empty.find((observed) => observed.lane === lane) ?? empty[0])?.limiter;
  if (limiter) return limiter;
  if (headers["x-ratelimit-remaining-requests"] === "0") return "requests";
  if (headers["x-ratelimit-remaining-tokens"] === "0") return "tokens";
  return Object.keys(headers).length === 0 ? "windowless" : "rate_limit";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value.slice(0, 2000) : null;
}
