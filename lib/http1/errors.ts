/**
 * What can go wrong on the way to a server and back, besides what the system tells with codes of its own, such as
 * ECONNREFUSED.
 */
export type Http1ErrorCode =
  /** The request cannot be written by HTTP's rules; nothing was sent. */
  | "HTTP1_REQUEST"
  /** A body that streams had another length than was announced. */
  | "HTTP1_BODY_LENGTH"
  | "HTTP1_CONNECT_TIMEOUT"
  | "HTTP1_HEADERS_TIMEOUT"
  /** The server closed the connection before its answer was whole. */
  | "HTTP1_CLOSED"
  /** The answer is not HTTP/1.x as RFC 9112 has it. */
  | "HTTP1_RESPONSE"
  /** The connections were ended from this side. */
  | "HTTP1_DESTROYED";

export class Http1Error extends Error {
  readonly code: Http1ErrorCode;

  constructor(code: Http1ErrorCode, message: string) {
    super(message);
    this.name = "Http1Error";
    this.code = code;
  }
}
