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

/** The type that the Claude API gives an error of a status (https://platform.claude.com/docs/en/api/errors). */
export function errorTypeOf(status: number): ErrorType {
  return TYPE_BY_STATUS[status] ?? (status >= 500 ? "api_error" : "invalid_request_error");
}

const TYPE_BY_STATUS: Readonly<Record<number, ErrorType | undefined>> = {
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  504: "timeout_error",
  529: "overloaded_error",
};
