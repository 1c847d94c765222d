import type { OnReadOpts, Socket } from "node:net";
import { Http1Error } from "./errors.ts";
import type { ResponseHead } from "./response-head.ts";
import { type ResponseEvents, ResponseParser } from "./response-parser.ts";
import { REST_MS, rest } from "./rest.ts";
import type { Line, Transfer } from "./transfer.ts";
import { takeTurn } from "./turn.ts";

/** What sockets are read into, one after the other: their pieces are copied out, for most are small. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);
/** Larger pieces are no events. */
const SMALL_BYTES = 8 * 1024;

/** A server that says how long it keeps an idle connection may have counted from a little earlier. */
const KEEP_ALIVE_MARGIN_MS = 2_000;

export type ConnectionOptions = {
  /** What tells that the socket is connected, TLS included. */
  openEvent: "connect" | "secureConnect";
  connectMs: number;
  /** The longest that it is kept while it is idle. */
  keepAliveMs: number;
  /** It can carry another transfer. */
  onFree(connection: Connection): void;
  onClose(connection: Connection): void;
};

/** One connection to a server, connected or about to be. It carries one transfer at a time. */
export class Connection implements Line, ResponseEvents {
  readonly socket: Socket;
  readonly #options: ConnectionOptions;
  readonly #parser = new ResponseParser(this);
  #isOpen = false;
  #transfer: Transfer | null = null;
  #rawTrailers: string[] | null = null;
  #keepsAlive = true;
  #keepAliveMs: number;
  #fault: Error | null = null;
  /** Until when the server may be expected to keep it, by `performance.now()`. */
  #idleUntilMs = 0;
  /** When the last piece of the answer came. */
  #readAtMs = Number.NEGATIVE_INFINITY;
  #isPaused = false;
  #isResting = false;

  /** `open` makes the socket, which hands what it reads to the options that it is given. */
  constructor(open: (onread: OnReadOpts) => Socket, options: ConnectionOptions) {
    const socket = open({
      buffer: READ_BUFFER,
      callback: (bytes, buffer) => {
        const piece = Buffer.allocUnsafe(bytes);
        piece.set(buffer.subarray(0, bytes));
        takeTurn(() => this.#read(piece));
        this.#rest(bytes);
        return true;
      },
    });
    this.socket = socket;
    this.#options = options;
    this.#keepAliveMs = options.keepAliveMs;
    const { openEvent, connectMs, onClose } = options;
    const patience = setTimeout(() => {
      this.destroy(new Http1Error("HTTP1_CONNECT_TIMEOUT", `no connection within ${connectMs / 1000} s`));
    }, connectMs);
    socket.once(openEvent, () => {
      clearTimeout(patience);
      this.#isOpen = true;
      this.#transfer?.begin();
    });
    socket.on("drain", () => this.#transfer?.drained());
    socket.on("end", () => this.#ended());
    socket.on("error", (error) => {
      this.#fault ??= error;
    });
    socket.on("close", () => {
      clearTimeout(patience);
      onClose(this);
      this.#fail(this.#fault ?? new Http1Error("HTTP1_CLOSED", "the other side closed the connection"));
    });
  }

  /** Whether it may still carry another transfer, now that it is idle. */
  isUsable(nowMs: number): boolean {
    return nowMs < this.#idleUntilMs && !this.socket.destroyed;
  }

  /** Only while it carries none. */
  carry(transfer: Transfer): void {
    this.#transfer = transfer;
    this.#readAtMs = Number.NEGATIVE_INFINITY;
    this.#parser.expect(transfer.method);
    transfer.take(this);
    if (this.#isOpen && this.#transfer === transfer) transfer.begin();
  }

  pause(): void {
    this.#isPaused = true;
    this.socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#isResting) this.socket.resume();
  }

  wake(): void {
    this.#isResting = false;
    if (!this.#isPaused) this.socket.resume();
  }

  destroy(error: Error | null): void {
    this.#fault ??= error;
    this.socket.destroy();
  }

  breakOff(transfer: Transfer, error: Error | null): void {
    if (this.#transfer !== transfer) return;
    this.destroy(error);
    if (error !== null) {
      this.#fail(error);
      return;
    }
    this.#transfer = null;
    transfer.finish();
  }

  head(head: ResponseHead): void {
    const transfer = this.#transfer;
    if (head.status < 200) {
      transfer?.handler.onInterim?.(head.status, head.rawHeaders);
      return;
    }
    this.#keepsAlive = head.keepsAlive;
    if (head.keepAliveS !== null) {
      this.#keepAliveMs = Math.min(this.#options.keepAliveMs, head.keepAliveS * 1000 - KEEP_ALIVE_MARGIN_MS);
    }
    transfer?.answered();
    transfer?.handler.onHead(head.status, head.reason, head.rawHeaders);
  }

  data(chunk: Buffer): void {
    this.#transfer?.handler.onData(chunk);
  }

  end(rawTrailers: string[]): void {
    this.#rawTrailers = rawTrailers;
  }

  /**
   * Events that a server writes faster than once a millisecond are read together: each would cost a read and a write of
   * its own. The first, and those of a stream that takes its time, never wait.
   */
  #rest(bytes: number): void {
    if (bytes > SMALL_BYTES || this.#transfer === null || this.#isResting) return;
    const nowMs = performance.now();
    const isFast = nowMs - this.#readAtMs < REST_MS;
    this.#readAtMs = nowMs;
    if (!isFast) return;
    this.#isResting = true;
    this.socket.pause();
    rest(this);
  }

  #read(piece: Buffer): void {
    try {
      // What follows an answer unasked might be taken for the next one.
      if (!this.#parser.push(piece)) this.#keepsAlive = false;
      if (this.#rawTrailers !== null) this.#done(this.#rawTrailers);
      else if (this.#transfer === null) this.socket.destroy();
    } catch (error) {
      const fault = error instanceof Error ? error : new Error(String(error));
      this.destroy(fault);
      this.#fail(fault);
    }
  }

  /** The server has closed its side, with which an answer without a length is whole. */
  #ended(): void {
    this.#keepsAlive = false;
    if (this.#transfer !== null && this.#parser.finish() && this.#rawTrailers !== null) this.#done(this.#rawTrailers);
    else this.socket.destroy();
  }

  /** Frees the connection before its handler hears of the end, for that may send the next request. */
  #done(rawTrailers: string[]): void {
    const transfer = this.#transfer;
    this.#rawTrailers = null;
    this.#transfer = null;
    const isSent = transfer?.finish() ?? false;
    if (this.#keepsAlive && isSent && this.#keepAliveMs > 0) {
      this.resume();
      this.#idleUntilMs = performance.now() + this.#keepAliveMs;
      this.#options.onFree(this);
    } else this.socket.destroy();
    transfer?.handler.onEnd(rawTrailers);
  }

  #fail(error: Error): void {
    const transfer = this.#transfer;
    if (transfer === null) return;
    this.#transfer = null;
    transfer.finish();
    transfer.handler.onError(error);
  }
}
