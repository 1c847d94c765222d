import { findTopLevelValues, parseValue } from "../anthropic/json-scan.ts";
import { batchCoding } from "./batch-codings.ts";
import { NOTHING, type Reading, WholeMeter } from "./meter.ts";

/** A batch is a kilobyte. */
const MAX_BYTES = 64 * 1024;

/** Reads which batch a call made. It is fed the bytes as they came, compressed or not. */
export class BatchCreationMeter extends WholeMeter {
  readonly #encoding: string | null;

  constructor(encoding: string | null) {
    super(MAX_BYTES);
    this.#encoding = encoding;
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
      const id = parseValue(findTopLevelValues(decode(this.take()), ["id"]).get("id"), 1024);
      return typeof id === "string" && id !== "" && id.length <= 200 ? id : null;
    } catch {
      return null;
    }
  }
}
