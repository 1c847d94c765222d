import type { ApiError } from "./api-error.ts";

/** How one endpoint writes an answer: the tokens are made once, whatever form they are sent in. */
export type Rendering = {
  /** The whole of it. */
  whole(): string;
  /** A stream: its first event, what `produced` tokens add, and its end. */
  open(): string;
  advance(produced: number): string;
  close(): string;
  /** The event that ends a stream after its 200. */
  fail(error: ApiError): string;
  /** Sent while nothing else is. */
  readonly ping: string;
};
