/** Every fault that Headroom itself reports. Doors translate a code into a status; clients may branch on it. */
export type ErrorCode =
  | "invalid_input"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "conflict"
  | "payload_too_large"
  | "unavailable"
  | "upstream_unreachable"
  | "upstream_timeout"
  | "misconfigured"
  | "internal";

/** A fault with a closed code and a message fit for its reader: what is wrong and what to do about it. */
export class AppError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "AppError";
    this.code = code;
  }
}

/** What to show of a value that was thrown: its message, and never a stack trace. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
