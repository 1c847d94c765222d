/** `error.type` values of the Claude API that Headroom uses for refusals of its own, so that SDKs raise what they know. */
export type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "billing_error"
  | "permission_error"
  | "not_found_error"
  | "request_too_large"
  | "rate_limit_error"
  | "overloaded_error"
  | "timeout_error"
  | "api_error";

/** Anthropic's error shape as JSON text. A code goes where clients look for it first. */
export function errorBody(type: ErrorType, message: string, requestId: string, code: string | null = null): string {
  const details = code === null ? {} : { details: { error_code: code } };
  return JSON.stringify({ type: "error", error: { type, message, ...details }, request_id: requestId });
}
