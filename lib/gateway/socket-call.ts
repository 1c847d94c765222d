import type { Socket } from "node:net";
import { Readable } from "node:stream";
import type { PlainRequest } from "../http1/plain-request.ts";
import { ResponseWriter } from "../http1/response-writer.ts";
import type { CollectedBody } from "./collected-body.ts";
import type { Exchange } from "./exchange.ts";
import { GrowingBody } from "./growing-body.ts";
import type { ArrivalBody, Sink } from "./sink.ts";

const NOTHING = () => {};

/** One call on a connection of its own parsing: its body as it comes, and its answer. */
export class SocketCall implements Sink, ArrivalBody {
  readonly #socket: Socket;
  readonly #writer: ResponseWriter;
  readonly #onDone: () => void;
  readonly #ownsBody: boolean;
  /** Bytes of the body that are yet to come. */
  #left: number;
  #take: ((bytes: Buffer) => void) | null = null;
  #whole: () => void = NOTHING;
  #upload: Readable | null = null;
  #early: Buffer[] = [];
  #isAnswered = false;
  #isDone = false;
  exchange: Exchange | null = null;

  /**
   * `ownsBody`: what is fed stands in memory that no other call has a part of. `onDone` hears when the answer is written and the body has come: the
   * connection can carry another call.
   */
  constructor(
    socket: Socket,
    request: PlainRequest,
    { keepAliveS, ownsBody }: { keepAliveS: number | null; ownsBody: boolean },
    onDone: () => void,
  ) {
    this.#socket = socket;
    this.#ownsBody = ownsBody;
    this.#left = request.contentLength;
    this.#onDone = onDone;
    const onDrain = () => this.exchange?.resume();
    this.#writer = new ResponseWriter(socket, { method: request.method, keepAliveS, onDrain });
  }

  get bodyLeft(): number {
    return this.#left;
  }

  /** More of the body, never more than is left of it. */
  feed(bytes: Buffer): void {
    this.#left -= bytes.length;
    if (this.#take === null) {
      // Nobody has said yet what becomes of it.
      this.#early.push(bytes);
      this.#socket.pause();
      return;
    }
    if (bytes.length > 0) this.#take(bytes);
    if (this.#left === 0) this.#ended();
  }

  drained(): void {
    this.#writer.drained();
  }

  /** The client is gone. */
  closed(): void {
    this.#upload?.destroy();
    this.exchange?.hangUp();
  }

  collect(maxBytes: number, done: (body: CollectedBody | null) => void): void {
    const body = new GrowingBody(maxBytes, this.#ownsBody);
    this.#whole = () => {
      if (!body.isTooLong) done(body.take());
    };
    this.#begin((bytes) => {
      if (body.push(bytes)) done(null);
    });
  }

  stream(): Readable | null {
    if (this.#left === 0 && this.#early.length === 0) {
      this.discard();
      return null;
    }
    const socket = this.#socket;
    const upload = new Readable({ read: () => void socket.resume() });
    this.#upload = upload;
    this.#whole = () => {
      if (!upload.destroyed) upload.push(null);
    };
    this.#begin((bytes) => {
      if (!upload.destroyed && !upload.push(bytes)) socket.pause();
    });
    return upload;
  }

  discard(): void {
    if (this.#left === 0 && this.#take !== null) return;
    this.#whole = NOTHING;
    this.#begin(NOTHING);
    this.#socket.resume();
  }

  inform(status: number, rawHeaders: readonly string[]): void {
    if (status === 102) this.#writer.inform(status, "Processing", []);
    else if (status === 103) this.#writer.inform(status, "Early Hints", rawHeaders);
  }

  start(status: number, reason: string, rawHeaders: string[]): void {
    this.#writer.start(status, reason, rawHeaders);
  }

  write(chunk: Buffer): boolean {
    return this.#writer.write(chunk);
  }

  end(rawTrailers: readonly string[]): void {
    this.#writer.end(rawTrailers);
    this.#isAnswered = true;
    if (this.#left === 0 && this.#take !== null) this.#done();
  }

  cut(): void {
    if (!this.#writer.isStarted) {
      this.#socket.destroy();
      return;
    }
    // What was forwarded still arrives; the missing last chunk, or the missing bytes, tell the rest.
    this.#writer.flush();
    this.#socket.destroySoon();
  }

  #begin(take: (bytes: Buffer) => void): void {
    this.#take = take;
    const early = this.#early;
    this.#early = [];
    if (early.length > 0) this.#socket.resume();
    for (const bytes of early) this.#take(bytes);
    if (this.#left === 0) this.#ended();
  }

  #ended(): void {
    const whole = this.#whole;
    this.#whole = NOTHING;
    whole();
    // To close while the client still uploads resets the connection, and with it goes the answer (RFC 9112, 9.6).
    if (this.#isAnswered) this.#done();
  }

  #done(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    // Whatever still knows of this call, all that belonged to it need not outlive it.
    this.exchange = null;
    this.#take = NOTHING;
    this.#whole = NOTHING;
    this.#onDone();
  }
}
