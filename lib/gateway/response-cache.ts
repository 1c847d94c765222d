import { LRUCache } from "lru-cache";
import type { Clock } from "../kit/clock.ts";
import { messageOf } from "../kit/errors.ts";
import type { Log } from "../kit/log.ts";

/** An answer as it can be given again. */
export type KeptAnswer = {
  status: number;
  reason: string;
  /** Names and values in turn, without those that spoke for one connection or one moment. */
  rawHeaders: readonly string[];
  /** As it came, in the encoding in which it came. */
  body: Buffer;
  streamed: boolean;
  model: string | null;
  stopReason: string | null;
  requestId: string | null;
  keptAtMs: number;
};

export type FoundAnswer = { answer: KeptAnswer; ageS: number };

/** Where answers are kept. Here it is this process's memory; instances that are to share theirs need one between them. */
export type AnswerStore = {
  /** Null for what was never kept, has had its time, or made room for others. The call waits: give up soon, and reject. */
  find(key: string): Promise<KeptAnswer | null>;
  /** Returns at once and never throws. */
  keep(key: string, answer: KeptAnswer, forS: number): void;
  /** What it holds of this process's memory. */
  readonly bytes: number;
};

/** `hits` and `misses` since the start of this process. */
export type CacheState = { hits: number; misses: number; bytes: number };

const MAX_BYTES = 64 * 1024 * 1024;
/** What an answer takes besides its body and headers. */
const OVERHEAD_BYTES = 512;

/** Answers to calls that asked to be remembered. A store that fails costs a call nothing but its hit. */
export class ResponseCache {
  readonly #store: AnswerStore;
  readonly #clock: Clock;
  readonly #log: Log;
  #hits = 0;
  #misses = 0;

  constructor(options: { clock: Clock; log: Log; store?: AnswerStore }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#store = options.store ?? new MemoryAnswerStore(options);
  }

  get state(): CacheState {
    return { hits: this.#hits, misses: this.#misses, bytes: this.#store.bytes };
  }

  /** An answer that is younger than `maxAgeS`, for it may have been kept by a call that allows more. */
  async find(key: string, maxAgeS: number): Promise<FoundAnswer | null> {
    const answer = await this.#store.find(key).catch((error: unknown) => {
      this.#log.warn({ error: messageOf(error) }, "the response cache could not be read");
      return null;
    });
    const ageS = answer === null ? 0 : Math.max(this.#clock.now() - answer.keptAtMs, 0) / 1000;
    if (answer === null || ageS >= maxAgeS) {
      this.#misses += 1;
      return null;
    }
    this.#hits += 1;
    return { answer, ageS: Math.floor(ageS) };
  }

  keep(key: string, answer: Omit<KeptAnswer, "keptAtMs">, forS: number): void {
    this.#store.keep(key, { ...answer, keptAtMs: this.#clock.now() }, forS);
  }
}

/** Bounded by bytes, the least recently used go first; what has had its time goes by itself. */
export class MemoryAnswerStore implements AnswerStore {
  readonly #answers: LRUCache<string, KeptAnswer>;

  constructor(options: { clock: Clock; maxBytes?: number }) {
    this.#answers = new LRUCache({
      maxSize: options.maxBytes ?? MAX_BYTES,
      sizeCalculation: ({ body, rawHeaders }, key) =>
        body.length + rawHeaders.reduce((sum, text) => sum + text.length, 0) + key.length + OVERHEAD_BYTES,
      // Nobody may ask again for what has had its time, and it is not to stay for that.
      ttlAutopurge: true,
      ttlResolution: 0,
      // A start at 0 would be none.
      perf: { now: () => options.clock.monotonic() + 1 },
    });
  }

  async find(key: string): Promise<KeptAnswer | null> {
    return this.#answers.get(key) ?? null;
  }

  keep(key: string, answer: KeptAnswer, forS: number): void {
    this.#answers.set(key, answer, { ttl: forS * 1000 });
  }

  get bytes(): number {
    return this.#answers.calculatedSize;
  }
}
