import type { Readable } from "node:stream";
import type { CollectedBody } from "./collected-body.ts";

/** A call as a door hands it in: nothing decoded, nothing left out. */
export type Arrival = {
  method: string;
  /** Path and query as they came. */
  target: string;
  /** Names and values in turn. */
  rawHeaders: readonly string[];
  /** How the client reached the door, where the door knows: "http" or "https". */
  scheme?: string;
  body: ArrivalBody;
};

export type ArrivalBody = {
  /** Hands over the whole body, or null as soon as it is longer than `maxBytes`. Never, when the client leaves before. */
  collect(maxBytes: number, done: (body: CollectedBody | null) => void): void;
  /** The body as it comes; null when the request has none. */
  stream(): Readable | null;
  /** Reads what is left and drops it, so that the connection can carry the answer and the next request. */
  discard(): void;
};

/** Where an answer goes: a door's side of one call. Called in order; nothing comes after `end` or `cut`. */
export type Sink = {
  /** An interim (1xx) answer; a door that cannot send it leaves it out. */
  inform(status: number, rawHeaders: readonly string[]): void;
  start(status: number, reason: string, rawHeaders: string[]): void;
  /** False when the client reads more slowly than the upstream sends: pause until told to resume. */
  write(chunk: Buffer): boolean;
  end(rawTrailers: readonly string[]): void;
  /** Breaks the connection, so that an answer that was cut looks cut and not complete. */
  cut(): void;
};

/** What a door tells of its client while a call runs. */
export type ClientEvents = {
  /** The client reads again. */
  resume(): void;
  /** The client is gone. */
  hangUp(): void;
};
