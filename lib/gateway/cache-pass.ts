import type { CallRecord } from "../usage/schema.ts";
import { type AnswerHeaders, withoutRateLimits } from "./answer-headers.ts";
import { GrowingBody } from "./growing-body.ts";
import type { FoundAnswer, ResponseCache } from "./response-cache.ts";

/** Longer answers are passed on and not kept. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** One call's dealings with the response cache: asks it once and, where it has nothing, brings it the answer. */
export class CachePass {
  readonly #cache: ResponseCache;
  readonly #key: string;
  readonly #forS: number;
  #head: { status: number; reason: string; headers: AnswerHeaders } | null = null;
  #body: GrowingBody | null = null;
  #call: CallRecord | null = null;

  constructor(cache: ResponseCache, key: string, forS: number) {
    this.#cache = cache;
    this.#key = key;
    this.#forS = forS;
  }

  find(): Promise<FoundAnswer | null> {
    return this.#cache.find(this.#key, this.#forS);
  }

  /** An answer begins. */
  began(status: number, reason: string, headers: AnswerHeaders): void {
    if (status !== 200 || (headers.contentLength ?? 0) > MAX_ANSWER_BYTES) return;
    this.#head = { status, reason, headers };
    this.#body = new GrowingBody(MAX_ANSWER_BYTES);
  }

  /** Bytes of it go to the client. */
  passed(chunk: Buffer): void {
    if (this.#body?.push(chunk)) this.#body = null;
  }

  /** The call is written down. */
  recorded(call: CallRecord): void {
    this.#call = call;
  }

  /** The upstream has ended the answer in good order. What was cut never comes here. */
  ended(): void {
    const { stopReason = null, outcome, model = null, traffic = null } = this.#call ?? {};
    // Without a reason to stop it is no whole message, or one that could not be read.
    if (outcome !== "succeeded" || stopReason === null || stopReason === "refusal") return;
    // Given again, another model's answer would be in the place of the one that was asked for, and not say so.
    if (traffic !== null && traffic.fallbackFrom !== null) return;
    if (this.#head === null || this.#body === null) return;
    const { status, reason, headers } = this.#head;
    const answer = {
      ...{ status, reason, model, stopReason, requestId: headers.requestId, streamed: headers.isEventStream },
      rawHeaders: lasting(headers.forwarded),
      body: compact(this.#body.take().chunks),
    };
    this.#cache.keep(this.#key, answer, this.#forS);
  }
}

const PASSING = /^(?:retry-after(?:-ms)?|age|set-cookie|trailer|x-headroom-.+)$/i;

/** Without what was true of one moment, one client or one connection only. */
function lasting(rawHeaders: readonly string[]): string[] {
  const kept: string[] = [];
  const fields = withoutRateLimits(rawHeaders);
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? "";
    if (!PASSING.test(name)) kept.push(name, fields[at + 1] ?? "");
  }
  return kept;
}

/** In memory of its own: a piece of a socket's buffer would hold on to all of that. */
function compact(chunks: readonly Buffer[]): Buffer {
  const whole = Buffer.allocUnsafeSlow(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) at += chunk.copy(whole, at);
  return whole;
}
