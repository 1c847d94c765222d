import { CollectedBody } from "./collected-body.ts";

/** A piece of this size is kept as it came; smaller ones are gathered, for each has a price of its own. */
const LARGE_BYTES = 8 * 1024;
const BLOCK_BYTES = 64 * 1024;

/** A body that is collected piece by piece. Memory follows what has come, whatever was announced and however small. */
export class GrowingBody {
  readonly #maxBytes: number;
  readonly #isOwner: boolean;
  #chunks: Buffer[] = [];
  #block: Buffer | null = null;
  #blockBytes = 0;
  #bytes = 0;
  isTooLong = false;

  /** `isOwner`: the pieces that are pushed are nobody else's any more, nor is the memory that they stand in. */
  constructor(maxBytes: number, isOwner = false) {
    this.#maxBytes = maxBytes;
    this.#isOwner = isOwner;
  }

  /** True for the one chunk that makes the body too long; nothing is kept from then on. */
  push(chunk: Uint8Array): boolean {
    if (this.isTooLong) return false;
    const isFirst = this.#bytes === 0;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) {
      this.isTooLong = true;
      this.#chunks = [];
      this.#block = null;
      return true;
    }
    if (isFirst || chunk.length >= LARGE_BYTES) {
      this.#seal();
      this.#chunks.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    } else this.#gather(chunk);
    return false;
  }

  /** Hands the body over, once, and lets go of it. Most come in one piece. */
  take(): CollectedBody {
    this.#seal();
    const chunks = this.#chunks;
    this.#chunks = [];
    return new CollectedBody(chunks, this.#isOwner);
  }

  #gather(chunk: Uint8Array): void {
    if (this.#block === null || this.#blockBytes + chunk.length > BLOCK_BYTES) {
      this.#seal();
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    }
    this.#block.set(chunk, this.#blockBytes);
    this.#blockBytes += chunk.length;
  }

  #seal(): void {
    if (this.#block !== null) this.#chunks.push(this.#block.subarray(0, this.#blockBytes));
    this.#block = null;
    this.#blockBytes = 0;
  }
}
