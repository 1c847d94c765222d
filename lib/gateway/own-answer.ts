import { type ErrorType, errorBody } from "../anthropic/error-body.ts";
import type { Refusal } from "../usage/schema.ts";

/** A refusal of Headroom's own, in the shape of Anthropic's, so that clients need to know no other. */
export type OwnAnswer = {
  status: number;
  reason: string;
  type: ErrorType;
  refusal: Refusal;
  message: string;
  /** False where asking again cannot help; SDKs obey it before anything else. Null leaves it to their rules. */
  shouldRetry: false | null;
  retryAfterSeconds: number | null;
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
      "Headroom has no upstream credential for agent keys: set ANTHROPIC_API_KEY where Headroom runs, and restart it.",
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
  timedOut: (message: string) => own(504, "Gateway Timeout", "timeout_error", "timeout", message),
  closing: () =>
    own(503, "Service Unavailable", "api_error", "gateway_fault", "Headroom is shutting down: try again shortly.", {
      retryAfterSeconds: 1,
    }),
};

/** The answer on the wire. */
export function renderOwnAnswer(answer: OwnAnswer, callId: string): { rawHeaders: string[]; body: Buffer } {
  const body = Buffer.from(errorBody(answer.type, answer.message, callId));
  const rawHeaders = ["content-type", "application/json", "content-length", String(body.length), "request-id", callId];
  if (answer.shouldRetry === false) rawHeaders.push("x-should-retry", "false");
  if (answer.retryAfterSeconds !== null) rawHeaders.push("retry-after", String(answer.retryAfterSeconds));
  return { rawHeaders, body };
}

type Retry = { shouldRetry?: false; retryAfterSeconds?: number };
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
    message,
    shouldRetry: shouldRetry ?? null,
    retryAfterSeconds: retryAfterSeconds ?? null,
  };
}
