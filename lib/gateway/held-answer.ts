import { type ErrorDetail, parseErrorDetail } from "../anthropic/error-detail.ts";
import { parseValue } from "../anthropic/json-scan.ts";
import type { AnswerHeaders } from "./answer-headers.ts";
import { decodeWhole } from "./decoder.ts";

const MAX_BYTES = 64 * 1024;

/** An upstream's refusal, kept back until it is known whether the call is tried again. Error bodies are short. */
export class HeldAnswer {
  readonly status: number;
  readonly reason: string;
  readonly headers: AnswerHeaders;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(status: number, reason: string, headers: AnswerHeaders) {
    this.status = status;
    this.reason = reason;
    this.headers = headers;
  }

  /** False once it is longer than any refusal is: then it is passed on. */
  push(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    return this.#bytes <= MAX_BYTES;
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }

  /** What the body says of the error. Calls back at once unless the body is compressed. */
  read(done: (detail: ErrorDetail) => void): void {
    const body = Buffer.concat(this.#chunks);
    const { contentEncoding } = this.headers;
    if (contentEncoding === null) done(parseErrorDetail(parseValue(body)));
    else
      void decodeWhole(contentEncoding, body, 16 * MAX_BYTES).then((text) =>
        done(parseErrorDetail(text && parseValue(text))),
      );
  }

  /** From `retry-after-ms` or `retry-after`, in seconds; null when there is neither. */
  get retryAfterS(): number | null {
    const value = (name: string) => {
      const { forwarded } = this.headers;
      const at = forwarded.findIndex((field, index) => index % 2 === 0 && field.toLowerCase() === name);
      return at < 0 ? null : (forwarded[at + 1] ?? null);
    };
    const ms = Number(value("retry-after-ms") ?? Number.NaN);
    if (Number.isFinite(ms)) return ms / 1000;
    const text = value("retry-after");
    if (text === null) return null;
    const seconds = Number(text);
    if (Number.isFinite(seconds)) return seconds;
    const atMs = Date.parse(text);
    const nowMs = Date.parse(this.headers.date ?? "");
    return Number.isNaN(atMs) || Number.isNaN(nowMs) ? null : Math.max(0, (atMs - nowMs) / 1000);
  }
}
