/** https://platform.claude.com/docs/en/api/errors */
export type ApiErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "permission_error"
  | "not_found_error"
  | "request_too_large"
  | "rate_limit_error"
  | "api_error"
  | "overloaded_error";

type ApiErrorOptions = { errorCode?: string; headers?: Record<string, string>; shouldRetry?: boolean };

/** An answer of the API that is no success. Thrown anywhere below the server, written in one place. */
export class ApiError extends Error {
  readonly status: number;
  readonly type: ApiErrorType;
  readonly errorCode: string | null;
  readonly headers: Record<string, string>;

  constructor(status: number, type: ApiErrorType, message: string, options: ApiErrorOptions = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.type = type;
    this.errorCode = options.errorCode ?? null;
    // SDKs obey this header before they look at anything else.
    const shouldRetry = options.shouldRetry ?? (status === 429 || status >= 500);
    this.headers = { ...options.headers, "x-should-retry": String(shouldRetry) };
  }

  body(requestId: string): object {
    const details = this.errorCode === null ? {} : { details: { error_code: this.errorCode } };
    return {
      type: "error",
      error: { type: this.type, message: this.message, ...details },
      request_id: requestId,
    };
  }
}

export function invalidRequest(message: string): ApiError {
  return new ApiError(400, "invalid_request_error", message);
}

export function notFound(message = "Not Found"): ApiError {
  return new ApiError(404, "not_found_error", message);
}

export function overloaded(): ApiError {
  return new ApiError(529, "overloaded_error", "Overloaded");
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, "invalid_request_error", "Method Not Allowed");
}
