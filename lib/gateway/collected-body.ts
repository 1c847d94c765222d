import type { LongText } from "../anthropic/request-head.ts";

/** Up to here Node may have cut a piece from memory that others have parts of too. */
const SHARED_BYTES = Buffer.poolSize / 2;

/**
 * A request's body in the pieces in which it came. A long one is never put together unless somebody has to read all of
 * it: to copy megabytes costs more than everything else that is done for such a call.
 */
export class CollectedBody implements LongText {
  readonly chunks: readonly Buffer[];
  readonly length: number;

  readonly #isOwner: boolean;

  /** `isOwner`: nobody else has use for the memory that the pieces stand in. */
  constructor(chunks: readonly Buffer[], isOwner = false) {
    this.chunks = chunks;
    this.#isOwner = isOwner;
    this.length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /**
   * Gives the memory of large pieces back, where it is the body's own; they are empty from then on. It lies outside the
   * heap, and what the collector leaves of it until it comes by is by far the most that long prompts take. Only for a
   * body that is written: what still sends it would send what lies there next.
   */
  free(): void {
    if (!this.#isOwner) return;
    for (const { buffer, byteOffset, byteLength } of this.chunks) {
      // What stands behind the body, such as the next request, is somebody else's.
      if (byteLength <= SHARED_BYTES || byteOffset + byteLength < buffer.byteLength) continue;
      if (buffer instanceof ArrayBuffer) buffer.transfer(0);
    }
  }

  whole(): Buffer {
    const [only] = this.chunks;
    return this.chunks.length === 1 && only ? only : Buffer.concat(this.chunks, this.length);
  }

  /** Whether the text stands anywhere in it, across pieces too. */
  includes(text: string): boolean {
    const overlap = Buffer.byteLength(text) - 1;
    let before = Buffer.alloc(0);
    for (const chunk of this.chunks) {
      if (chunk.includes(text)) return true;
      if (before.length > 0 && Buffer.concat([before, chunk.subarray(0, overlap)]).includes(text)) return true;
      before = Buffer.concat([before, chunk.subarray(-overlap)]).subarray(-overlap);
    }
    return false;
  }

  front(bytes: number): Buffer {
    const parts: Buffer[] = [];
    let held = 0;
    for (const chunk of this.chunks) {
      if (held >= bytes) break;
      parts.push(chunk.subarray(0, bytes - held));
      held += chunk.length;
    }
    return join(parts);
  }

  tail(bytes: number): Buffer {
    const parts: Buffer[] = [];
    let held = 0;
    for (let index = this.chunks.length - 1; index >= 0 && held < bytes; index -= 1) {
      const chunk = this.chunks[index] ?? Buffer.alloc(0);
      parts.unshift(chunk.subarray(Math.max(chunk.length - (bytes - held), 0)));
      held += chunk.length;
    }
    return join(parts);
  }
}

function join(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts);
}
