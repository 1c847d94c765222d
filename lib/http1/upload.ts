import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { Http1Error } from "./errors.ts";
import type { Framing } from "./request.ts";

/** Sends a body that comes as a stream, no faster than the server takes it. */
export class Upload {
  readonly #body: Readable;
  readonly #socket: Socket;
  readonly #isChunked: boolean;
  readonly #events: { sent(): void; failed(error: Error): void };
  #left: number;
  #isOver = false;

  /** Whether all of it was sent. */
  isSent = false;

  constructor(body: Readable, framing: Framing, socket: Socket, events: { sent(): void; failed(error: Error): void }) {
    this.#body = body;
    this.#socket = socket;
    this.#isChunked = framing === "chunked";
    this.#left = typeof framing === "number" ? framing : Number.POSITIVE_INFINITY;
    this.#events = events;
    body.on("error", (error) => this.#fail(error));
    body.on("close", () => this.#fail(new Http1Error("HTTP1_BODY_LENGTH", "its body was broken off")));
    body.on("end", () => this.#end());
    body.on("data", (chunk: Buffer) => this.#send(chunk));
  }

  /** The server takes more. */
  resume(): void {
    if (!this.#isOver) this.#body.resume();
  }

  /** Nobody waits for the rest. */
  stop(): void {
    this.#isOver = true;
    if (!this.#body.readableEnded) this.#body.destroy();
  }

  #send(chunk: Buffer): void {
    if (this.#isOver || chunk.length === 0) return;
    this.#left -= chunk.length;
    if (this.#left < 0) {
      this.#fail(new Http1Error("HTTP1_BODY_LENGTH", "its body is longer than its content-length"));
      return;
    }
    if (!this.#isChunked) {
      if (!this.#socket.write(chunk)) this.#body.pause();
      return;
    }
    this.#socket.cork();
    this.#socket.write(`${chunk.length.toString(16)}\r\n`, "latin1");
    this.#socket.write(chunk);
    if (!this.#socket.write("\r\n", "latin1")) this.#body.pause();
    this.#socket.uncork();
  }

  #end(): void {
    if (this.#isOver) return;
    if (!this.#isChunked && this.#left > 0) {
      this.#fail(new Http1Error("HTTP1_BODY_LENGTH", "its body is shorter than its content-length"));
      return;
    }
    this.#isOver = true;
    this.isSent = true;
    if (this.#isChunked) this.#socket.write("0\r\n\r\n", "latin1");
    this.#events.sent();
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#events.failed(error);
  }
}
