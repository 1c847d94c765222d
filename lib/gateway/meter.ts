import { type ErrorDetail, parseErrorDetail } from "../anthropic/error-detail.ts";
import { parseValue } from "../anthropic/json-scan.ts";
import { readMessageSummary } from "../anthropic/message-usage.ts";
import { StreamTap } from "../anthropic/stream-tap.ts";
import type { Usage } from "../anthropic/usage.ts";

/** What an answer's body said of itself. */
export type Reading = {
  model: string | null;
  stopReason: string | null;
  /** Null when the answer brought none, or none that could be read. */
  usage: Usage | null;
  /** Of an answer without usage: how much it brought, estimated by its bytes. */
  producedTokens: number;
  hasContent: boolean;
  error: ErrorDetail | null;
};

/** Reads along while an answer passes. It is fed decoded bytes, before they are forwarded, and changes none. */
export type Meter = {
  push(chunk: Buffer): void;
  /** The answer has said its last word, though bytes may follow. */
  isComplete(): boolean;
  /** An answer that has ended in good order, but without its last word, was cut further up. */
  lacksEnd(): boolean;
  /** Usage as far as a stream has counted it, when that has changed since the last time; else null. */
  takeNews(): Usage | null;
  /** `whole` is false for an answer that was cut: output that was not counted yet is then estimated. */
  read(whole: boolean): Reading;
};

export const NOTHING: Reading = {
  ...{ model: null, stopReason: null, usage: null, producedTokens: 0 },
  ...{ hasContent: false, error: null },
};

/** For answers whose bodies hold nothing to count. */
export const NO_METER: Meter = {
  push() {},
  isComplete: () => false,
  lacksEnd: () => false,
  takeNews: () => null,
  read: () => NOTHING,
};

export class StreamMeter implements Meter {
  readonly #tap = new StreamTap();
  #seen = 0;

  push(chunk: Buffer): void {
    this.#tap.push(chunk);
  }

  isComplete(): boolean {
    return this.#tap.complete;
  }

  lacksEnd(): boolean {
    return !this.#tap.complete;
  }

  takeNews(): Usage | null {
    if (this.#seen === this.#tap.revision) return null;
    this.#seen = this.#tap.revision;
    return this.#tap.usage;
  }

  read(whole: boolean): Reading {
    const { model, stopReason, hasContent, error, revision } = this.#tap;
    const usage = revision === 0 ? null : whole ? this.#tap.usage : this.#tap.estimate();
    return { ...NOTHING, model, stopReason, usage, hasContent, error };
  }
}

/** Keeps an answer until it is whole, and says nothing before. Past the bound none is read. */
export abstract class WholeMeter implements Meter {
  readonly #body: Collected;

  constructor(maxBytes: number) {
    this.#body = new Collected(maxBytes);
  }

  push(chunk: Buffer): void {
    this.#body.push(chunk);
  }

  isComplete(): boolean {
    return false;
  }

  lacksEnd(): boolean {
    return false;
  }

  takeNews(): null {
    return null;
  }

  abstract read(whole: boolean): Reading;

  protected take(): Buffer {
    return this.#body.take();
  }
}

/** The largest plain answers are a few megabytes. */
export const MAX_PLAIN_ANSWER = 32 * 1024 * 1024;

/** A plain answer. */
export class MessageMeter extends WholeMeter {
  constructor() {
    super(MAX_PLAIN_ANSWER);
  }

  read(whole: boolean): Reading {
    const summary = whole ? readMessageSummary(this.take()) : null;
    return summary === null ? NOTHING : { ...NOTHING, ...summary };
  }
}

export class ErrorMeter extends WholeMeter {
  constructor() {
    super(64 * 1024);
  }

  read(): Reading {
    return { ...NOTHING, error: parseErrorDetail(parseValue(this.take())) };
  }
}

/** Bytes kept until there is all of them. */
class Collected {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= this.#maxBytes) this.#chunks.push(chunk);
    else this.#chunks = [];
  }

  /** Empty when it grew past the bound. */
  take(): Buffer {
    const [only] = this.#chunks;
    return this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks);
  }
}
