import { promisify } from "node:util";
import zlib from "node:zlib";

/** Where chunks go before they are forwarded, when reading them takes its time. */
export type Passage = {
  /** Calls back, in order, when the chunk has been read; not after `close`. */
  pass(chunk: Buffer, done: () => void): void;
  close(): void;
};

/**
 * Decodes a copy of a compressed answer for the meter; the client gets the bytes as they came. zlib works on its own
 * threads, so a chunk is handed back when it has been read, and forwarded then.
 */
export class Decoder implements Passage {
  readonly #stream: Decompressor;
  readonly #onData: (chunk: Buffer) => void;
  #waiting: (() => void)[] = [];
  #broken = false;

  constructor(stream: Decompressor, onData: (chunk: Buffer) => void) {
    this.#stream = stream;
    this.#onData = onData;
    stream.on("readable", () => this.#drain());
    stream.on("error", () => {
      this.#broken = true;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const done of waiting) done();
    });
  }

  /** Calls back, in order, once everything that the chunk holds was given to `onData`. Broken data is passed over. */
  pass(chunk: Buffer, done: () => void): void {
    if (this.#broken) {
      done();
      return;
    }
    this.#waiting.push(done);
    this.#stream.write(chunk, () => {
      this.#drain();
      this.#waiting.shift()?.();
    });
  }

  /** Chunks whose decoding is under way are not called back any more. */
  close(): void {
    this.#broken = true;
    this.#waiting = [];
    this.#stream.destroy();
  }

  #drain(): void {
    if (this.#broken) return;
    for (let chunk = this.#stream.read(); chunk !== null; chunk = this.#stream.read()) this.#onData(chunk);
  }
}

/** Holds chunks back until something is known that reading them needs. */
export class LateDecoder implements Passage {
  readonly #inner: Passage | null;
  readonly #onData: (chunk: Buffer) => void;
  #turn: Promise<void>;
  #isClosed = false;

  /** `inner` decodes; null when the body is as it is. */
  constructor(ready: Promise<void>, inner: Passage | null, onData: (chunk: Buffer) => void) {
    this.#turn = ready;
    this.#inner = inner;
    this.#onData = onData;
  }

  pass(chunk: Buffer, done: () => void): void {
    this.#turn = this.#turn.then(async () => {
      if (this.#isClosed) return;
      if (this.#inner === null) this.#onData(chunk);
      else await new Promise<void>((read) => this.#inner?.pass(chunk, read));
      done();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#inner?.close();
  }
}

type Decompressor = zlib.Gunzip | zlib.Inflate | zlib.BrotliDecompress | zlib.ZstdDecompress;

/** A decoder for a Content-Encoding; null when the body is as it is, undefined when Headroom cannot decode it. */
export function createDecoder(encoding: string | null, onData: (chunk: Buffer) => void): Decoder | null | undefined {
  switch (encoding?.trim().toLowerCase() ?? "identity") {
    case "identity":
    case "":
      return null;
    case "gzip":
    case "x-gzip":
      return new Decoder(zlib.createGunzip(), onData);
    case "deflate":
      return new Decoder(zlib.createInflate(), onData);
    case "br":
      return new Decoder(zlib.createBrotliDecompress(), onData);
    case "zstd":
      return new Decoder(zlib.createZstdDecompress(), onData);
    default:
      return undefined;
  }
}

const gunzip = promisify(zlib.gunzip);
const inflate = promisify(zlib.inflate);
const unbrotli = promisify(zlib.brotliDecompress);
const unzstd = promisify(zlib.zstdDecompress);

/** A whole compressed body, decoded; null when it cannot be, or would be longer than `maxBytes`. */
export async function decodeWhole(encoding: string, body: Buffer, maxBytes: number): Promise<Buffer | null> {
  const options = { maxOutputLength: maxBytes };
  try {
    switch (encoding.trim().toLowerCase()) {
      case "gzip":
      case "x-gzip":
        return await gunzip(body, options);
      case "deflate":
        return await inflate(body, options);
      case "br":
        return await unbrotli(body, options);
      case "zstd":
        return await unzstd(body, options);
      default:
        return null;
    }
  } catch {
    return null;
  }
}
