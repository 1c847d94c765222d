/**
 * Cuts bytes that come in chunks into lines that end in LF. Memory is bounded: a line longer than `maxBytes` is given up
 * and told of once, and lines that lie within a chunk are not copied.
 */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #onLine: (line: Buffer) => void;
  readonly #onTooLong: () => void;
  #held: Buffer[] = [];
  #bytes = 0;
  #isTooLong = false;

  /** `onLine` is given a view that is good until it returns, without the LF. */
  constructor(options: { maxBytes: number; onLine: (line: Buffer) => void; onTooLong?: () => void }) {
    this.#maxBytes = options.maxBytes;
    this.#onLine = options.onLine;
    this.#onTooLong = options.onTooLong ?? (() => {});
  }

  push(chunk: Buffer): void {
    let at = 0;
    for (let newline = chunk.indexOf(LF); newline !== -1; newline = chunk.indexOf(LF, at)) {
      const end = chunk.subarray(at, newline);
      at = newline + 1;
      if (this.#bytes === 0 && !this.#isTooLong) this.#onLine(end);
      else {
        this.#hold(end);
        this.end();
      }
    }
    // A copy, for a view would keep the whole chunk alive.
    if (at < chunk.length) this.#hold(Buffer.from(chunk.subarray(at)));
  }

  /** What is left is a line too, though nothing ends it. */
  end(): void {
    const held = this.#held;
    const hadLine = this.#bytes > 0 && !this.#isTooLong;
    this.#held = [];
    this.#bytes = 0;
    this.#isTooLong = false;
    const [only] = held;
    if (hadLine) this.#onLine(held.length === 1 && only ? only : Buffer.concat(held));
  }

  #hold(part: Buffer): void {
    if (this.#isTooLong || part.length === 0) return;
    this.#bytes += part.length;
    if (this.#bytes <= this.#maxBytes) this.#held.push(part);
    else {
      this.#isTooLong = true;
      this.#held = [];
      this.#onTooLong();
    }
  }
}

const LF = 0x0a;
