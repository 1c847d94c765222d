const BINS = 28;
const CENTRES = Array.from({ length: BINS }, (_, bin) => 2 ** ((bin + 0.5) / 2));
const MODEL_WEIGHT = 4;
const PRIOR_TOKENS = 700;

type Histogram = { counts: number[]; sum: number };

/** Lengths of answers in half-octave bins and the share of prompts read from a cache, by agent. */
export class Estimates {
  readonly #model = histogram();
  readonly #agents = new Map<string, Histogram & { hit: number }>();

  /** Prompt tokens that will count against the limit. */
  input(agent: string, guessed: number): number {
    return guessed * (1 - this.#of(agent).hit);
  }

  /** E[min(X, maxTokens) − x | X > x]: what an answer of `produced` tokens still has to come. */
  remaining(agent: string, produced: number, maxTokens: number): number {
    const own = this.#of(agent).counts;
    const { counts: all, sum: total } = this.#model;
    const first = binOf(produced);
    let weights = 0;
    let weighted = 0;
    for (let bin = first; bin < BINS; bin += 1) {
      let weight = (own[bin] ?? 0) + (total > 0 ? (MODEL_WEIGHT * (all[bin] ?? 0)) / total : 0);
      let length = Math.min(CENTRES[bin] ?? 0, maxTokens);
      if (bin === first) {
        weight /= 2;
        length = Math.max(length, 1.15 * produced);
      }
      weights += weight;
      weighted += weight * Math.max(0, length - produced);
    }
    const fade = produced > 0 ? Math.max(0.2, 1 - produced / PRIOR_TOKENS) : 1;
    const prior = Math.max(20, Math.min(PRIOR_TOKENS, maxTokens) * fade);
    return Math.min(Math.max(0, maxTokens - produced), (weighted + 0.5 * prior) / (weights + 0.5));
  }

  learnInput(agent: string, uncached: number, total: number): void {
    const own = this.#of(agent);
    own.hit += 0.15 * (1 - uncached / total - own.hit);
  }

  learnOutput(agent: string, output: number): void {
    for (const one of [this.#of(agent), this.#model]) {
      for (let bin = 0; bin < BINS; bin += 1) one.counts[bin] = 0.99 * (one.counts[bin] ?? 0);
      const bin = binOf(output);
      one.counts[bin] = (one.counts[bin] ?? 0) + 1;
      one.sum = 0.99 * one.sum + 1;
    }
  }

  #of(agent: string): Histogram & { hit: number } {
    const known = this.#agents.get(agent);
    if (known) return known;
    const fresh = { ...histogram(), hit: 0 };
    this.#agents.set(agent, fresh);
    return fresh;
  }
}

function histogram(): Histogram {
  return { counts: new Array<number>(BINS).fill(0), sum: 0 };
}

function binOf(tokens: number): number {
  return Math.min(BINS - 1, Math.max(0, Math.floor(2 * Math.log2(Math.max(1, tokens)))));
}
