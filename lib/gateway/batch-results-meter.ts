import { type BatchResult, readBatchResult } from "../anthropic/batch-result.ts";
import { LineSplitter } from "../anthropic/line-splitter.ts";
import { NO_USAGE } from "../anthropic/usage.ts";
import { type Meter, NOTHING, type Reading } from "./meter.ts";

/** The longest answers are a few megabytes. */
const MAX_LINE = 32 * 1024 * 1024;

/**
 * Reads a batch's results while they pass, a line at a time, and hands each on. Of results of any length it holds the
 * line that is just coming.
 */
export class BatchResultsMeter implements Meter {
  readonly #lines: LineSplitter;
  /** Lines that could not be read: money may be in them. */
  #unread = 0;

  /** `onResult` returns false where it cannot count the result. */
  constructor(onResult: (result: BatchResult) => boolean) {
    this.#lines = new LineSplitter({
      maxBytes: MAX_LINE,
      onLine: (line) => {
        if (line.length === 0 || (line.length === 1 && line[0] === CR)) return;
        const result = readBatchResult(line);
        if (result === null || !onResult(result)) this.#unread += 1;
      },
      onTooLong: () => {
        this.#unread += 1;
      },
    });
  }

  push(chunk: Buffer): void {
    this.#lines.push(chunk);
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

  /** The answer itself costs nothing; without usage it counts as one whose cost is not known. */
  read(whole: boolean): Reading {
    if (whole) this.#lines.end();
    return this.#unread === 0 ? { ...NOTHING, usage: NO_USAGE } : NOTHING;
  }
}

const CR = 0x0d;
