import type { Denial, DenialReason } from "../access/agent-guard.ts";
import { type ErrorType, errorBody } from "../anthropic/error-body.ts";
import type { Shed } from "../traffic/shed.ts";
import type { Refusal } from "../usage/schema.ts";

/** A refusal of Headroom's own, in the shape of Anthropic's, so that clients need to know no other. */
export type OwnAnswer = {
  status: number;
  reason: string;
  type: ErrorType;
  refusal: Refusal;
  /** `error.details.error_code`, which tells refusals of Headroom's own rules from the upstream's. */
  code: string | null;
  message: string;
  /** False where asking again cannot help; SDKs obey it before anything else. Null leaves it to their rules. */
  shouldRetry: boolean | null;
  retryAfterSeconds: number | null;
  /** More headers, names and values in turn. */
  headers: readonly string[];
};

export const ownAnswers = {
  /** The credential is missing, unknown, or not one that is taken here. */
  unauthenticated: (message: string) => own(401, "Unauthorized", "authentication_error", "authentication", message, NO),
  /** Agent keys need an upstream credential to go out with. */
  noUpstreamCredential: () =>
    own(
      503,
      "Service Unavailable",
      "api_error",
      "gateway_fault",
      "Headroom has no upstream credential for agent keys: set ANTHROPIC_API_KEY where Headroom runs and restart it, or add an upstream at /api/upstreams.",
      NO,
    ),
  unforwardable: (message: string) => own(400, "Bad Request", "invalid_request_error", "invalid", message, NO),
  tooLarge: (maxBytes: number) =>
    own(
      413,
      "Content Too Large",
      "request_too_large",
      "too_large",
      `The body is longer than ${maxBytes / 1024 / 1024} MB, which is more than a Messages request may have.`,
      NO,
    ),
  unreachable: (message: string) => own(502, "Bad Gateway", "api_error", "upstream_fault", message),
  /** The upstream has answered, but nothing that may follow what the client has already. */
  unusable: (message: string) => own(502, "Bad Gateway", "api_error", "upstream_fault", message),
  timedOut: (message: string) => own(504, "Gateway Timeout", "timeout_error", "timeout", message),
  /** An agent's settings stand against the call. */
  notAdmitted: ({ reason, message, retryAfterS }: Denial): OwnAnswer => {
    const [status, statusText, type, refusal] = DENIALS[reason];
    // What passes by itself within seconds may be tried again; a cap or a budget is not to be hammered.
    const retry = {
      ...(reason === "starting" ? {} : NO),
      ...(retryAfterS === null ? {} : { retryAfterSeconds: retryAfterS }),
    };
    return { ...own(status, statusText, type, refusal, message, retry), code: `headroom_${reason}` };
  },
  /** Agents could not be read yet: a key that is not known may be a good one. */
  starting: () =>
    own(
      503,
      "Service Unavailable",
      "api_error",
      "gateway_fault",
      "Headroom has just started and does not know its agents yet: try again shortly.",
      { retryAfterSeconds: 1 },
    ),
  /** Traffic control does not let the call go. */
  shed: ({ status, reason, message, retryAfterMs, shouldRetry }: Shed): OwnAnswer => {
    const isLimit = status === 429;
    const answer = own(
      status,
      isLimit ? "Too Many Requests" : "Overloaded",
      isLimit ? "rate_limit_error" : "overloaded_error",
      "shed",
      message,
      { shouldRetry, retryAfterSeconds: Math.ceil(retryAfterMs / 1000) },
    );
    const headers = ["retry-after-ms", String(retryAfterMs), "x-headroom-shed", reason];
    return { ...answer, code: `headroom_${reason}`, headers };
  },
  closing: () =>
    own(503, "Service Unavailable", "api_error", "gateway_fault", "Headroom is shutting down: try again shortly.", {
      retryAfterSeconds: 1,
    }),
};

const DENIALS: Record<DenialReason, [status: number, reason: string, ErrorType, Refusal]> = {
  revoked: [401, "Unauthorized", "authentication_error", "authentication"],
  disabled: [403, "Forbidden", "permission_error", "permission"],
  model: [403, "Forbidden", "permission_error", "permission"],
  unpriced: [403, "Forbidden", "permission_error", "permission"],
  requests: [429, "Too Many Requests", "rate_limit_error", "agent_requests"],
  input_tokens: [429, "Too Many Requests", "rate_limit_error", "agent_input_tokens"],
  output_tokens: [429, "Too Many Requests", "rate_limit_error", "agent_output_tokens"],
  budget: [429, "Too Many Requests", "billing_error", "agent_budget"],
  starting: [503, "Service Unavailable", "api_error", "gateway_fault"],
};

/** The answer on the wire. */
export function renderOwnAnswer(answer: OwnAnswer, callId: string): { rawHeaders: string[]; body: Buffer } {
  const body = Buffer.from(errorBody(answer.type, answer.message, callId, answer.code));
  const rawHeaders = ["content-type", "application/json", "content-length", String(body.length), "request-id", callId];
  if (answer.shouldRetry !== null) rawHeaders.push("x-should-retry", String(answer.shouldRetry));
  if (answer.retryAfterSeconds !== null) rawHeaders.push("retry-after", String(answer.retryAfterSeconds));
  rawHeaders.push(...answer.headers);
  return { rawHeaders, body };
}

type Retry = { shouldRetry?: boolean; retryAfterSeconds?: number };
const NO: Retry = { shouldRetry: false };

function own(
  status: number,
  reason: string,
  type: ErrorType,
  refusal: Refusal,
  message: string,
  { shouldRetry, retryAfterSeconds }: Retry = {},
): OwnAnswer {
  return {
    status,
    reason,
    type,
    refusal,
    code: null,
    message,
    shouldRetry: shouldRetry ?? null,
    retryAfterSeconds: retryAfterSeconds ?? null,
    headers: [],
  };
}
