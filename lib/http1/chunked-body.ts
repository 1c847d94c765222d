import { Http1Error } from "./errors.ts";
import { parseFields } from "./response-head.ts";

const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const TAB = 0x09;
const SEMICOLON = 0x3b;
const MAX_SIZE_DIGITS = 13;
const MAX_LINE_BYTES = 16 * 1024;
const MAX_TRAILER_BYTES = 64 * 1024;

/** Takes a body out of its chunks (RFC 9112, 7.1), whatever the borders at which its bytes come. */
export class ChunkedBody {
  #state: "size" | "extension" | "size end" | "data" | "data end" | "after data" | "trailers" = "size";
  #size = 0;
  #digits = 0;
  #lineBytes = 0;
  #trailerText = "";
  #trailers: string[] | null = null;
  #fault: Http1Error | null = null;

  /** Names and values in turn; null until the body is whole. */
  get trailers(): string[] | null {
    return this.#trailers;
  }

  /** `HTTP1_RESPONSE`, once the chunks cannot be read any further. */
  get fault(): Http1Error | null {
    return this.#fault;
  }

  /**
   * Reads on, up to the end of the body or to a fault. What the chunks held is moved together within the piece, so that
   * it goes on as one however many chunks it came in.
   */
  push(piece: Buffer): { data: Buffer | null; used: number } {
    let at = 0;
    let start = 0;
    let end = 0;
    while (at < piece.length && this.#trailers === null && this.#fault === null) {
      if (this.#state === "data") {
        const length = Math.min(this.#size, piece.length - at);
        if (end === start) {
          start = at;
          end = at;
        } else piece.copyWithin(end, at, at + length);
        end += length;
        at += length;
        this.#size -= length;
        if (this.#size === 0) this.#state = "data end";
      } else if (this.#state === "trailers") at = this.#readTrailers(piece, at);
      else {
        const fault = this.#readByte(piece[at] ?? 0);
        if (fault !== null) this.#fail(fault);
        at += 1;
      }
    }
    return { data: end > start ? piece.subarray(start, end) : null, used: at };
  }

  /** What is wrong with the byte, if anything is. */
  #readByte(byte: number): string | null {
    switch (this.#state) {
      case "size":
        return this.#readSize(byte);
      case "extension":
        this.#lineBytes += 1;
        if (byte === LF || this.#lineBytes > MAX_LINE_BYTES) return "the first line of a chunk has no end";
        if (byte === CR) this.#state = "size end";
        return null;
      case "size end":
        if (byte !== LF) return "the first line of a chunk has no end";
        this.#state = this.#size === 0 ? "trailers" : "data";
        this.#digits = 0;
        this.#lineBytes = 0;
        return null;
      case "data end":
        if (byte !== CR) return "a chunk is longer than its size";
        this.#state = "after data";
        return null;
      default:
        if (byte !== LF) return "a chunk is longer than its size";
        this.#state = "size";
        return null;
    }
  }

  #readSize(byte: number): string | null {
    const digit = hexDigit(byte);
    if (digit >= 0) {
      this.#digits += 1;
      this.#size = this.#size * 16 + digit;
      return this.#digits > MAX_SIZE_DIGITS ? "a chunk is too long" : null;
    }
    if (this.#digits === 0) return "a chunk has no size";
    if (byte === CR) this.#state = "size end";
    else if (byte === SEMICOLON || byte === SPACE || byte === TAB) this.#state = "extension";
    else return "the size of a chunk is no number";
    return null;
  }

  /** Everything up to the empty line, which comes at once where there are none. */
  #readTrailers(piece: Buffer, at: number): number {
    const before = this.#trailerText.length;
    const text = this.#trailerText + piece.toString("latin1", at);
    if (text.startsWith("\r\n")) {
      this.#trailers = [];
      return at + 2 - before;
    }
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) {
      this.#trailers = this.#fields(text.slice(0, end));
      return at + end + 4 - before;
    }
    if (text.length > MAX_TRAILER_BYTES) this.#fail("its trailers have no end");
    this.#trailerText = text;
    return piece.length;
  }

  #fields(text: string): string[] | null {
    try {
      return parseFields(text, 0);
    } catch {
      this.#fail("a trailer is malformed");
      return null;
    }
  }

  #fail(what: string): void {
    this.#fault = new Http1Error("HTTP1_RESPONSE", `the answer cannot be read: ${what}`);
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
