import type { BatchBook } from "./batch-book.ts";
import { batchCoding, MAX_BATCH_ANSWER } from "./batch-codings.ts";
import { headerOf, rewriteResultsUrls } from "./results-url.ts";
import type { Sink } from "./sink.ts";

/**
 * Holds the answers that are batches back until they are whole, tells the book of batches what they say, and sends them
 * on with `results_url` leading to this gateway. Everything that is something else passes at once and unchanged, as does
 * what cannot be read.
 */
export class BatchAnswerSink implements Sink {
  readonly #inner: Sink;
  readonly #origin: string | null;
  readonly #batches: BatchBook;
  #head: { status: number; reason: string; rawHeaders: string[]; encoding: string | null } | null = null;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(inner: Sink, origin: string | null, batches: BatchBook) {
    this.#inner = inner;
    this.#origin = origin;
    this.#batches = batches;
  }

  inform(status: number, rawHeaders: readonly string[]): void {
    this.#inner.inform(status, rawHeaders);
  }

  start(status: number, reason: string, rawHeaders: string[]): void {
    const isJson = /^\s*application\/json\b/i.test(headerOf(rawHeaders, "content-type") ?? "");
    if (status !== 200 || !isJson) this.#inner.start(status, reason, rawHeaders);
    else this.#head = { status, reason, rawHeaders, encoding: headerOf(rawHeaders, "content-encoding") };
  }

  write(chunk: Buffer): boolean {
    if (this.#head === null) return this.#inner.write(chunk);
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    return this.#bytes <= MAX_BATCH_ANSWER || this.#release(null);
  }

  end(rawTrailers: readonly string[]): void {
    if (this.#head !== null) this.#release(this.#rewritten(this.#head.encoding));
    this.#inner.end(rawTrailers);
  }

  cut(): void {
    if (this.#head !== null) this.#release(null);
    this.#inner.cut();
  }

  #rewritten(encoding: string | null): Buffer | null {
    const [decode, encode] = batchCoding(encoding) ?? [];
    if (!decode || !encode) return null;
    try {
      const body = decode(Buffer.concat(this.#chunks));
      this.#batches.learn(JSON.parse(body.toString("utf8")));
      const changed = this.#origin === null ? null : rewriteResultsUrls(body, this.#origin);
      return changed && encode(changed);
    } catch {
      return null;
    }
  }

  /** Sends on what was held: as it came, or another body in its place. */
  #release(body: Buffer | null): boolean {
    const head = this.#head;
    this.#head = null;
    if (head === null) return true;
    if (body !== null) setLength(head.rawHeaders, body.length);
    this.#inner.start(head.status, head.reason, head.rawHeaders);
    let hasRoom = true;
    for (const chunk of body === null ? this.#chunks : [body]) hasRoom = this.#inner.write(chunk);
    this.#chunks = [];
    return hasRoom;
  }
}

function setLength(rawHeaders: string[], length: number): void {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === "content-length") rawHeaders[at + 1] = String(length);
  }
}
