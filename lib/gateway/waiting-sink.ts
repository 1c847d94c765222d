import { errorBody, errorTypeOf } from "../anthropic/error-body.ts";
import { parseValue } from "../anthropic/json-scan.ts";
import type { Clock } from "../kit/clock.ts";
import type { AnswerHeaders } from "./answer-headers.ts";
import { type OwnAnswer, ownAnswers } from "./own-answer.ts";
import type { Sink } from "./sink.ts";

/** Clients with a short patience for silence give up after 60 s, some after 30. */
export const PING_EVERY_MS = 10_000;
/** No refusal's body is longer. */
const MAX_BYTES = 64 * 1024;

const HEAD = ["content-type", "text/event-stream; charset=utf-8", "cache-control", "no-cache"];
const PING = Buffer.from('event: ping\ndata: {"type": "ping"}\n\n');

/**
 * Keeps the client of a stream from giving up while its call waits: after a first silence it answers 200 and sends pings,
 * and then the upstream's stream, unchanged. The head is gone by then, so whatever is refused afterwards is told as an
 * error event, and the stream ends in good order. Until it has begun all passes as it is.
 */
export class WaitingSink implements Sink {
  readonly #inner: Sink;
  readonly #callId: string;
  readonly #everyMs: number;
  readonly #clock: Clock;
  /** When it began to wait. */
  #sinceMs: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #hasBegun = false;
  /** Another model that may answer, as the early head must say in advance. */
  #fallback: string | null = null;
  #refusal: { status: number; chunks: Buffer[]; bytes: number } | null = null;

  constructor(inner: Sink, callId: string, { pingEveryMs, clock }: { pingEveryMs: number; clock: Clock }) {
    this.#inner = inner;
    this.#callId = callId;
    this.#everyMs = pingEveryMs;
    this.#clock = clock;
  }

  /** The call waits for its turn, for the first time or again. */
  waits(): void {
    if (this.#timer !== null) return;
    const nowMs = this.#clock.monotonic();
    this.#sinceMs ??= nowMs;
    this.#timer = setTimeout(() => this.#open(), Math.max(0, this.#sinceMs + this.#everyMs - nowMs));
  }

  /** An operator's rule may let another model answer. */
  mayFallBack(from: string, to: string): void {
    this.#fallback = `${from} -> ${to}; if-needed`;
  }

  /** The call goes out. Pings that have begun go on until there is an answer. */
  goes(): void {
    if (!this.#hasBegun) this.rest();
  }

  /** The call is over, or its answer is there. */
  rest(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** What the upstream is asked with: the head that is gone promised no encoding. */
  headersFor(headers: readonly string[]): string[] {
    if (!this.#hasBegun) return [...headers];
    const others = headers.filter((_, at) => headers[at - (at % 2)]?.toLowerCase() !== "accept-encoding");
    return [...others, "accept-encoding", "identity"];
  }

  /** Why a good answer cannot follow the head that is gone; null when it can. */
  faultOf(status: number, answer: AnswerHeaders): OwnAnswer | null {
    if (!this.#hasBegun || status >= 400) return null;
    const encoding = answer.contentEncoding?.trim().toLowerCase() ?? "identity";
    if (encoding !== "identity") {
      return ownAnswers.unusable(`The upstream encoded its answer (${encoding}), though it was asked not to.`);
    }
    return answer.isEventStream ? null : ownAnswers.unusable("The upstream's answer is no stream of events.");
  }

  inform(status: number, rawHeaders: readonly string[]): void {
    if (!this.#hasBegun) this.#inner.inform(status, rawHeaders);
  }

  start(status: number, reason: string, rawHeaders: string[]): void {
    this.rest();
    if (!this.#hasBegun) this.#inner.start(status, reason, rawHeaders);
    else if (status >= 400) this.#refusal = { status, chunks: [], bytes: 0 };
  }

  write(chunk: Buffer): boolean {
    const refusal = this.#refusal;
    if (refusal === null) return this.#inner.write(chunk);
    refusal.bytes += chunk.length;
    if (refusal.bytes <= MAX_BYTES) refusal.chunks.push(chunk);
    return true;
  }

  end(rawTrailers: readonly string[]): void {
    if (this.#refusal === null) this.#inner.end(rawTrailers);
    else this.#refuse(this.#refusal);
  }

  cut(): void {
    this.rest();
    if (this.#refusal === null) this.#inner.cut();
    else this.#refuse(this.#refusal);
  }

  #open(): void {
    this.#hasBegun = true;
    const fallback = this.#fallback === null ? [] : ["x-headroom-fallback", this.#fallback];
    this.#inner.start(200, "OK", [...HEAD, "x-headroom-call", this.#callId, ...fallback]);
    this.#inner.write(PING);
    this.#timer = setInterval(() => this.#inner.write(PING), this.#everyMs);
  }

  #refuse({ status, chunks }: { status: number; chunks: readonly Buffer[] }): void {
    this.#inner.write(Buffer.from(`event: error\ndata: ${this.#dataOf(status, Buffer.concat(chunks))}\n\n`));
    this.#inner.end([]);
  }

  /** The refusal's own body where it is JSON, on one line as events want it; else one that says the status. */
  #dataOf(status: number, body: Buffer): string {
    const value = parseValue(body);
    if (typeof value !== "object" || value === null) {
      return errorBody(errorTypeOf(status), `The upstream refused this call with HTTP ${status}.`, this.#callId);
    }
    const text = body.toString("utf8").trim();
    return /[\r\n]/.test(text) ? JSON.stringify(value) : text;
  }
}
