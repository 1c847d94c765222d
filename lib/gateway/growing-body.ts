/**
 * A body that is collected chunk by chunk into one piece. The announced length is believed only so far as bytes come:
 * an announcement alone costs no memory.
 */
export class GrowingBody {
  readonly #maxBytes: number;
  readonly #announced: number;
  #first: Uint8Array | null = null;
  #whole: Buffer | null = null;
  #bytes = 0;
  isTooLong = false;

  constructor(announced: number, maxBytes: number) {
    this.#announced = Number.isSafeInteger(announced) && announced > 0 ? Math.min(announced, maxBytes) : 0;
    this.#maxBytes = maxBytes;
  }

  /** True for the one chunk that makes the body too long; nothing is kept from then on. */
  push(chunk: Uint8Array): boolean {
    if (this.isTooLong) return false;
    const end = this.#bytes + chunk.length;
    if (end > this.#maxBytes) {
      this.isTooLong = true;
      this.#first = null;
      this.#whole = null;
      return true;
    }
    if (this.#bytes === 0) this.#first = chunk;
    else this.#room(end).set(chunk, this.#bytes);
    this.#bytes = end;
    return false;
  }

  /** Hands the whole body over, once, and lets go of it. Most come in one chunk, and that one is not copied. */
  take(): Buffer {
    const whole = this.#whole?.subarray(0, this.#bytes);
    const first = this.#first;
    this.#whole = null;
    this.#first = null;
    if (whole) return whole;
    return first === null ? Buffer.alloc(0) : Buffer.from(first.buffer, first.byteOffset, first.byteLength);
  }

  #room(end: number): Buffer {
    const before = this.#whole ?? this.#first;
    if (before !== null && this.#whole !== null && this.#whole.length >= end) return this.#whole;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#announced, Math.min(end * 2, this.#maxBytes)));
    if (before !== null) grown.set(before.subarray(0, this.#bytes));
    this.#whole = grown;
    this.#first = null;
    return grown;
  }
}
