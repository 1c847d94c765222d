import { ChunkedBody } from "./chunked-body.ts";
import { Http1Error } from "./errors.ts";
import { parseResponseHead, type ResponseHead } from "./response-head.ts";

const MAX_HEAD_BYTES = 64 * 1024;
const HEAD_END = "\r\n\r\n";

export type ResponseEvents = {
  /** A final head, or an interim one (1xx) before it. */
  head(head: ResponseHead): void;
  data(chunk: Buffer): void;
  /** The answer is whole. Nothing follows it until the parser is told to expect another. */
  end(rawTrailers: string[]): void;
};

/**
 * Reads the answers that come on one connection, one for each `expect`. Bytes are handed on in as few pieces as they
 * came in; each piece is taken over, and may be changed.
 */
export class ResponseParser {
  readonly #events: ResponseEvents;
  #state: "idle" | "head" | "length" | "chunked" | "close" = "idle";
  #method = "";
  /** The beginning of a head that came in several pieces. */
  #partial: Buffer | null = null;
  #left = 0;
  #chunks: ChunkedBody | null = null;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** An answer to a request of this method comes next. */
  expect(method: string): void {
    this.#state = "head";
    this.#method = method;
  }

  /**
   * Reads on. Throws `HTTP1_RESPONSE`, after which the parser is of no use. Returns false for bytes that belong to no
   * answer, which a connection cannot be used after.
   */
  push(piece: Buffer): boolean {
    let rest: Buffer | null = piece;
    while (rest !== null && rest.length > 0) {
      switch (this.#state) {
        case "idle":
          return false;
        case "head":
          rest = this.#pushHead(rest);
          break;
        case "length":
          rest = this.#pushLength(rest);
          break;
        case "chunked":
          rest = this.#pushChunked(rest);
          break;
        case "close":
          this.#events.data(rest);
          rest = null;
      }
    }
    return true;
  }

  /** The server has closed its side. False when the answer is not whole. */
  finish(): boolean {
    if (this.#state !== "close") return this.#state === "idle";
    this.#end([]);
    return true;
  }

  #pushHead(piece: Buffer): Buffer | null {
    const bytes = this.#partial === null ? piece : Buffer.concat([this.#partial, piece]);
    // The end may stand across two pieces.
    const from = this.#partial === null ? 0 : Math.max(0, this.#partial.length - HEAD_END.length);
    const end = bytes.indexOf(HEAD_END, from, "latin1");
    if (Math.max(end, end < 0 ? bytes.length : 0) > MAX_HEAD_BYTES) {
      throw new Http1Error("HTTP1_RESPONSE", "the answer cannot be read: its head has no end");
    }
    this.#partial = end < 0 ? bytes : null;
    if (end < 0) return null;
    const head = parseResponseHead(bytes.toString("latin1", 0, end), this.#method);
    if (head.status === 101) {
      throw new Http1Error("HTTP1_RESPONSE", "the answer cannot be read: it changes the protocol unasked");
    }
    if (head.status >= 200) this.#begin(head);
    this.#events.head(head);
    if (this.#state === "length" && this.#left === 0) this.#end([]);
    const next = end + HEAD_END.length;
    return next < bytes.length ? bytes.subarray(next) : null;
  }

  #begin({ body }: ResponseHead): void {
    if (body === "chunked") {
      this.#state = "chunked";
      this.#chunks = new ChunkedBody();
    } else if (body === "close") this.#state = "close";
    else {
      this.#state = "length";
      this.#left = body;
    }
  }

  #pushLength(piece: Buffer): Buffer | null {
    const own = piece.length <= this.#left ? piece : piece.subarray(0, this.#left);
    this.#left -= own.length;
    this.#events.data(own);
    if (this.#left === 0) this.#end([]);
    return own.length < piece.length ? piece.subarray(own.length) : null;
  }

  #pushChunked(piece: Buffer): Buffer | null {
    const chunks = this.#chunks;
    if (chunks === null) return null;
    const { data, used } = chunks.push(piece);
    if (data !== null) this.#events.data(data);
    if (chunks.fault !== null) throw chunks.fault;
    if (chunks.trailers !== null) this.#end(chunks.trailers);
    return used < piece.length ? piece.subarray(used) : null;
  }

  #end(rawTrailers: string[]): void {
    this.#state = "idle";
    this.#chunks = null;
    this.#events.end(rawTrailers);
  }
}
