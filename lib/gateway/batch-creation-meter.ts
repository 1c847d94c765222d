import { findTopLevelValues, parseValue } from "../anthropic/json-scan.ts";
import { batchCoding } from "./batch-codings.ts";
import { Collected, type Meter, NOTHING, type Reading } from "./meter.ts";

/** A batch is a kilobyte. */
const MAX_BYTES = 64 * 1024;

/** Reads which batch a call made. It is fed the bytes as they came, compressed or not. */
export class BatchCreationMeter implements Meter {
  readonly #body = new Collected(MAX_BYTES);
  readonly #encoding: string | null;

  constructor(encoding: string | null) {
    this.#encoding = encoding;
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

  /** A batch costs with its results. */
  read(): Reading {
    return NOTHING;
  }

  /** Null where the answer is not whole, or is no batch. */
  batchId(): string | null {
    const [decode] = batchCoding(this.#encoding) ?? [];
    if (!decode) return null;
    try {
      const id = parseValue(findTopLevelValues(decode(this.#body.take()), ["id"]).get("id"), 1024);
      return typeof id === "string" && id !== "" && id.length <= 200 ? id : null;
    } catch {
      return null;
    }
  }
}
