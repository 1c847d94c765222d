import { at, clamp } from "./numbers.ts";

/** Half octaves: 28 of them reach 16,000 tokens. */
const BINS = 28;
const CENTRES = Float64Array.from({ length: BINS }, (_, bin) => 2 ** ((bin + 0.5) / 2));
/** How many answers of the model's shape an agent's own are mixed with. */
const PSEUDO_SAMPLES = 4;

function binOf(tokens: number): number {
  return clamp(Math.floor(2 * Math.log2(Math.max(1, tokens))), 0, BINS - 1);
}

/** How long answers were, recent ones counting most: each new one takes 1 % off all that came before. */
export class LengthHistogram {
  readonly counts = new Float32Array(BINS);
  sum = 0;

  add(tokens: number): void {
    this.sum = 1;
    for (let bin = 0; bin < BINS; bin += 1) {
      const decayed = at(this.counts, bin) * 0.99;
      this.counts[bin] = decayed;
      this.sum += decayed;
    }
    const bin = binOf(tokens);
    this.counts[bin] = at(this.counts, bin) + 1;
  }
}

/**
 * Output still to be expected after `produced` tokens, by the agent's own lengths and the model's. A heavy tail makes it
 * grow with what was produced, which an estimate less what was produced would miss.
 */
export function expectRemaining(
  agent: LengthHistogram | undefined,
  model: LengthHistogram | undefined,
  produced: number,
  maxTokens: number,
): number {
  const modelWeight = model && model.sum > 0 ? PSEUDO_SAMPLES / model.sum : 0;
  let weights = 0;
  let tokens = 0;
  const first = binOf(produced);
  for (let bin = first; bin < BINS; bin += 1) {
    let weight = (agent ? at(agent.counts, bin) : 0) + (model ? at(model.counts, bin) * modelWeight : 0);
    if (weight === 0) continue;
    let length = Math.min(at(CENTRES, bin), maxTokens);
    if (bin === first) {
      weight /= 2;
      length = Math.max(length, 1.15 * produced);
    }
    weights += weight;
    tokens += weight * Math.max(0, length - produced);
  }
  const unheard = produced > 0 ? Math.max(0.2, 1 - produced / 700) : 1;
  const prior = Math.max(20, Math.min(700, maxTokens) * unheard);
  return Math.min(Math.max(0, maxTokens - produced), (tokens + 0.5 * prior) / (weights + 0.5));
}
