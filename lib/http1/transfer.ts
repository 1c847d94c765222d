import type { Socket } from "node:net";
import { Http1Error } from "./errors.ts";
import { type Http1Request, type RequestHead, renderHead } from "./request.ts";
import type { Flow, ResponseHandler } from "./response-handler.ts";
import { Upload } from "./upload.ts";

/** Bodies up to here are copied behind their head: one piece costs less to write than several. */
const JOINED_BYTES = 16 * 1024;

/** What carries a transfer. */
export type Line = {
  readonly socket: Socket;
  pause(): void;
  resume(): void;
  /** Ends the transfer and the connection. Its handler is told of an error, and of nothing where there is none. */
  breakOff(transfer: Transfer, error: Error | null): void;
};

/** One request on its way, with the one who waits for its answer. */
export class Transfer implements Flow {
  readonly method: string;
  readonly handler: ResponseHandler;
  readonly #head: RequestHead;
  readonly #headersMs: number;
  /** Let go of once it is written: an open stream need not hold its prompt. */
  #body: Http1Request["body"];
  #upload: Upload | null = null;
  #line: Line | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isAnswered = false;

  /** Throws `HTTP1_REQUEST` where the request cannot be written. */
  constructor(request: Http1Request, host: string, headersMs: number, handler: ResponseHandler) {
    this.method = request.method;
    this.handler = handler;
    this.#head = renderHead(request, host);
    this.#headersMs = headersMs;
    this.#body = request.body;
  }

  /** The line is this transfer's from here on, though it may not be connected yet. */
  take(line: Line): void {
    this.#line = line;
    this.handler.onStart(this);
  }

  /** Writes the request to its line, which is connected. */
  begin(): void {
    const line = this.#line;
    const body = this.#body;
    const { text, framing } = this.#head;
    this.#body = null;
    if (line === null) return;
    const { socket } = line;
    if (body === null || !("pipe" in body)) {
      write(socket, text, body ?? []);
      this.#sent();
      return;
    }
    socket.write(text, "latin1");
    this.#upload = new Upload(body, framing, socket, {
      sent: () => this.#sent(),
      failed: (error) => this.#break(error),
    });
  }

  /** The head of the answer is here, or an interim one. */
  answered(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isAnswered = true;
  }

  drained(): void {
    this.#upload?.resume();
  }

  /** Ends it on this side. False where the request was not sent to its end: the line is of no more use. */
  finish(): boolean {
    this.answered();
    this.#line = null;
    const isSent = this.#body === null && (this.#upload?.isSent ?? true);
    this.#upload?.stop();
    if (this.#body !== null && "destroy" in this.#body) this.#body.destroy();
    this.#body = null;
    return isSent;
  }

  abort(): void {
    this.#break(null);
  }

  get isWritten(): boolean {
    const isGiven = this.#body === null && (this.#upload?.isSent ?? true);
    return this.#line !== null && isGiven && this.#line.socket.writableLength === 0;
  }

  pause(): void {
    this.#line?.pause();
  }

  resume(): void {
    this.#line?.resume();
  }

  #sent(): void {
    // An upload may be answered in its midst.
    if (this.#isAnswered) return;
    this.#timer = setTimeout(() => {
      this.#break(new Http1Error("HTTP1_HEADERS_TIMEOUT", `no answer within ${this.#headersMs / 1000} s`));
    }, this.#headersMs);
  }

  #break(error: Error | null): void {
    this.#line?.breakOff(this, error);
  }
}

function write(socket: Socket, head: string, body: readonly Buffer[]): void {
  const length = body.reduce((sum, chunk) => sum + chunk.length, head.length);
  if (length <= JOINED_BYTES) {
    const whole = Buffer.allocUnsafe(length);
    let at = whole.write(head, 0, "latin1");
    for (const chunk of body) at += chunk.copy(whole, at);
    socket.write(whole);
    return;
  }
  socket.cork();
  socket.write(head, "latin1");
  for (const chunk of body) socket.write(chunk);
  socket.uncork();
}
