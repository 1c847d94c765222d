import type { IncomingMessage } from "node:http";
import { Register } from "../kit/register.ts";

/** Where a body that is owed has got to: bytes heard at a time. */
export type Heard = { bytes: number; atMs: number };

/** Whether a connection has brought nothing for so long though it owes a body; `heard` is brought up to date. */
export function hasStalled(bytesRead: number, heard: Heard, nowMs: number, stallMs: number): boolean {
  if (bytesRead === heard.bytes) return nowMs - heard.atMs >= stallMs;
  heard.bytes = bytesRead;
  heard.atMs = nowMs;
  return false;
}

type Owed = { req: IncomingMessage; heard: Heard };

/**
 * Ends requests of a Node server whose bodies have stopped coming: a client that vanished, or one that holds
 * connections to do harm. Node times whole requests only, and a long upload is none the worse for its length.
 */
export class UploadWatch {
  readonly #owed = new Register<Owed>();

  watch(req: IncomingMessage): void {
    if (req.complete) return;
    const id = this.#owed.add({ req, heard: { bytes: req.socket.bytesRead, atMs: performance.now() } });
    req.once("close", () => this.#owed.delete(id));
    req.once("end", () => this.#owed.delete(id));
  }

  sweep(nowMs: number, stallMs: number): void {
    for (const { req, heard } of this.#owed.all()) {
      // Paused: it is the upstream that does not take more.
      if (req.isPaused() || req.readableLength > 0) heard.atMs = nowMs;
      else if (hasStalled(req.socket.bytesRead, heard, nowMs, stallMs)) req.socket.destroy();
    }
  }
}
