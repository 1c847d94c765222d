import type { Socket } from "node:net";
import { lowerCase } from "./field-names.ts";
import { flushLater } from "./turn.ts";

/** Up to here what is written together is copied together: one piece costs less than several. */
const JOINED_BYTES = 16 * 1024;
/** A client that is so far behind is waited for. */
const FULL_BYTES = 64 * 1024;

export type ResponseOptions = {
  method: string;
  /** Null where the connection ends with this answer. */
  keepAliveS: number | null;
  /** The client takes more after a `write` that was false. */
  onDrain: () => void;
};

/**
 * Writes one answer to a socket, framed as RFC 9112 has it: by its content-length, in chunks without one. What is
 * written within one turn of the event loop goes out as one piece.
 */
export class ResponseWriter {
  readonly #socket: Socket;
  readonly #options: ResponseOptions;
  #head = "";
  #hasBody = true;
  #isChunked = false;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #isScheduled = false;
  #isFull = false;
  isStarted = false;

  constructor(socket: Socket, options: ResponseOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  /** An interim (1xx) answer. */
  inform(status: number, reason: string, rawHeaders: readonly string[]): void {
    let text = `HTTP/1.1 ${status} ${reason}\r\n`;
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) text += `${rawHeaders[at]}: ${rawHeaders[at + 1]}\r\n`;
    this.#socket.write(`${text}\r\n`, "latin1");
  }

  /** Names and values have to be such that may stand in a head. */
  start(status: number, reason: string, rawHeaders: readonly string[]): void {
    const { method, keepAliveS } = this.#options;
    let text = `HTTP/1.1 ${status} ${reason}\r\n`;
    let trailer = "";
    let isDated = false;
    let hasLength = false;
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      const name = rawHeaders[at] ?? "";
      const line = `${name}: ${rawHeaders[at + 1]}\r\n`;
      const lower = lowerCase(name);
      if (lower === "trailer") trailer += line;
      else text += line;
      if (lower === "date") isDated = true;
      else if (lower === "content-length") hasLength = true;
    }
    this.#hasBody = method !== "HEAD" && status !== 204 && status !== 304;
    this.#isChunked = this.#hasBody && !hasLength;
    // Only chunks can have trailers.
    if (this.#isChunked) text += `${trailer}Transfer-Encoding: chunked\r\n`;
    if (!isDated) text += `Date: ${new Date().toUTCString()}\r\n`;
    text +=
      keepAliveS === null ? "Connection: close\r\n" : `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveS}\r\n`;
    this.#head = `${text}\r\n`;
    this.isStarted = true;
    this.#schedule();
  }

  /** False when the client reads too slowly: `onDrain` tells when it takes more. */
  write(chunk: Buffer): boolean {
    if (!this.#hasBody || chunk.length === 0) return true;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#schedule();
    this.#isFull ||= this.#bytes + this.#socket.writableLength >= FULL_BYTES;
    return !this.#isFull;
  }

  /** Names and values of trailers in turn. */
  end(rawTrailers: readonly string[]): void {
    let last = "";
    if (this.#isChunked) {
      last = "0\r\n";
      for (let at = 0; at + 1 < rawTrailers.length; at += 2) last += `${rawTrailers[at]}: ${rawTrailers[at + 1]}\r\n`;
      last += "\r\n";
    }
    this.#flush(last);
  }

  /** Sends what was written so far. */
  flush(): void {
    this.#isScheduled = false;
    if (this.#head !== "" || this.#bytes > 0) this.#flush("");
  }

  /** The socket has sent what it had. */
  drained(): void {
    if (!this.#isFull || this.#bytes > 0) return;
    this.#isFull = false;
    this.#options.onDrain();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    flushLater(this);
  }

  #flush(last: string): void {
    const chunks = this.#chunks;
    const bytes = this.#bytes;
    const isFramed = this.#isChunked && bytes > 0;
    const before = isFramed ? `${this.#head}${bytes.toString(16)}\r\n` : this.#head;
    const after = isFramed ? `\r\n${last}` : last;
    this.#head = "";
    this.#chunks = [];
    this.#bytes = 0;
    const length = before.length + bytes + after.length;
    if (length === 0 || this.#socket.writableEnded) return;
    const isTaken =
      length <= JOINED_BYTES ? this.#join(before, chunks, after, length) : this.#cork(before, chunks, after);
    // Where the socket has taken all of it, it will not tell of draining.
    if (isTaken && this.#isFull) process.nextTick(() => this.drained());
  }

  #join(before: string, chunks: readonly Buffer[], after: string, length: number): boolean {
    const whole = Buffer.allocUnsafe(length);
    let at = before === "" ? 0 : whole.write(before, 0, "latin1");
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    if (after !== "") whole.write(after, at, "latin1");
    return this.#socket.write(whole);
  }

  #cork(before: string, chunks: readonly Buffer[], after: string): boolean {
    const socket = this.#socket;
    socket.cork();
    if (before !== "") socket.write(before, "latin1");
    for (const chunk of chunks) socket.write(chunk);
    if (after !== "") socket.write(after, "latin1");
    socket.uncork();
    return !socket.writableNeedDrain;
  }
}
