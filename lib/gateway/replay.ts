import type { FoundAnswer } from "./response-cache.ts";
import type { Sink } from "./sink.ts";

const PIECE_BYTES = 16 * 1024;

type ReplayEvents = {
  /** The last piece is about to go. */
  beforeLast(): void;
  /** All of it has gone. */
  beforeEnd(): void;
};

/** Gives a kept answer to a client, its body no faster than the client reads. */
export class Replay {
  readonly #body: Buffer;
  readonly #sink: Sink;
  readonly #events: ReplayEvents;
  #at = 0;

  constructor({ answer, ageS }: FoundAnswer, callId: string, sink: Sink, events: ReplayEvents) {
    this.#body = answer.body;
    this.#sink = sink;
    this.#events = events;
    const marks = ["age", String(ageS), "x-headroom-cache", "hit", "x-headroom-call", callId];
    sink.start(answer.status, answer.reason, [...answer.rawHeaders, ...marks]);
  }

  /** Begins, and goes on for as long as the client takes more. Not to be called once it is done. */
  resume(): void {
    let hasRoom = true;
    while (hasRoom && this.#at < this.#body.length) {
      // A copy, for a door may give its buffer away, and this one is to be given again.
      const piece = Buffer.from(this.#body.subarray(this.#at, this.#at + PIECE_BYTES));
      this.#at += piece.length;
      if (this.#at === this.#body.length) this.#events.beforeLast();
      hasRoom = this.#sink.write(piece);
    }
    if (this.#at < this.#body.length) return;
    this.#events.beforeEnd();
    this.#sink.end([]);
  }
}
