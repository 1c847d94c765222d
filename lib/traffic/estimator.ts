import { LRUCache } from "lru-cache";
import { expectRemaining, LengthHistogram } from "./length-histogram.ts";
import { clamp } from "./numbers.ts";

const MAX_SHAPES = 4_096;
const MAX_MODELS = 256;
const PRIOR_BYTES_PER_TOKEN = 4;
const PRIOR_TOKENS_PER_S = 60;

type ModelShape = { lengths: LengthHistogram; bytesPerToken: number; tokensPerS: number };

/** What is expected of each agent's calls of each model: learnt from those that ended, bounded in memory. */
export class Estimator {
  readonly #shapes = new LRUCache<string, CallShape>({ max: MAX_SHAPES });
  readonly #models = new LRUCache<string, ModelShape>({ max: MAX_MODELS });

  of(agent: string, model: string): CallShape {
    const key = `${model}\n${agent}`;
    let shape = this.#shapes.get(key);
    if (!shape) {
      shape = new CallShape(this.#model(model));
      this.#shapes.set(key, shape);
    }
    return shape;
  }

  #model(model: string): ModelShape {
    let shape = this.#models.get(model);
    if (!shape) {
      shape = {
        lengths: new LengthHistogram(),
        bytesPerToken: PRIOR_BYTES_PER_TOKEN,
        tokensPerS: PRIOR_TOKENS_PER_S,
      };
      this.#models.set(model, shape);
    }
    return shape;
  }
}

/** One agent's calls of one model. */
export class CallShape {
  readonly #model: ModelShape;
  readonly #lengths = new LengthHistogram();
  #bytesPerToken: number;
  #cacheHit = 0;

  constructor(model: ModelShape) {
    this.#model = model;
    this.#bytesPerToken = model.bytesPerToken;
  }

  /** The share of its prompts that came from the cache, which most limits do not count. */
  get cacheHit(): number {
    return this.#cacheHit;
  }

  /** Output tokens a second to expect of a stream that has not yet shown its own speed. */
  get tokensPerS(): number {
    return this.#model.tokensPerS;
  }

  /** Prompt tokens by the body's length, cache reads included. */
  inputTokens(bytes: number): number {
    return Math.max(1, bytes / this.#bytesPerToken);
  }

  /** Output still to be expected of an answer that has made so much of it. */
  remainingOutput(produced: number, maxTokens: number): number {
    return expectRemaining(this.#lengths, this.#model.lengths, produced, maxTokens);
  }

  /** An answer has begun and said what its prompt counted. */
  learnInput(bytes: number, uncachedTokens: number, totalTokens: number): void {
    if (totalTokens <= 0) return;
    this.#cacheHit += 0.15 * (1 - clamp(uncachedTokens / totalTokens, 0, 1) - this.#cacheHit);
    if (bytes <= 0) return;
    const ratio = clamp(bytes / totalTokens, 0.5, 200);
    this.#bytesPerToken *= (ratio / this.#bytesPerToken) ** 0.15;
    // Pictures and documents are long bodies with few tokens: they must not teach the model's texts.
    const model = this.#model;
    model.bytesPerToken *= (clamp(ratio, 1, 12) / model.bytesPerToken) ** 0.05;
  }

  /** An answer has ended. `streamedS` is from its first byte; 0 where it did not stream. */
  learnOutput(tokens: number, streamedS: number): void {
    this.#lengths.add(tokens);
    const model = this.#model;
    model.lengths.add(tokens);
    if (streamedS < 2 || tokens < 50) return;
    model.tokensPerS += 0.02 * (clamp(tokens / streamedS, 5, 1_000) - model.tokensPerS);
  }
}
