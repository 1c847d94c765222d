import { logNormal } from "../../lib/simulator/seeded.ts";
import type { TraceCall } from "../../lib/simulator/trace.ts";
import { CLASSES, type TrafficClass } from "../../lib/traffic/schema.ts";

/** One call of the benchmark: what it is, and what the gateway cannot know before. */
export type Job = {
  id: number;
  agent: string;
  class: TrafficClass;
  arrivedS: number;
  deadlineS: number;
  input: number;
  /** What the prompt counts if its cache is warm. */
  uncached: number;
  output: number;
  maxTokens: number;
  tokensPerS: number;
  firstTokenS: number;
  /** The prompt's tokens as the gateway guesses them from the body. */
  guessedInput: number;
  /** What streamed deltas are counted as, relative to the truth. */
  countError: number;
};

export type Agent = {
  id: number;
  name: string;
  class: TrafficClass;
  /** Calls per second at the scenario's load. */
  rate: number;
  medianOutput: number;
  maxTokens: number;
  medianInput: number;
  cached: boolean;
  meanOutput: number;
};

export type WorkloadOptions = {
  /** Output offered, as a multiple of the limit. */
  load: number;
  shape: "poisson" | "bursty" | "closed";
  inputFactor: number;
  outputFactor: number;
  classShares: readonly [number, number, number, number];
  /** Another load from a time on. */
  step: { atS: number; load: number } | null;
};

const AGENTS_PER_CLASS = [2, 4, 8, 10] as const;
const MEDIAN_OUTPUTS = [90, 220, 420, 800, 1_500] as const;
const MAX_TOKENS = [4_096, 8_192, 8_192, 16_384] as const;
const INPUT_FACTORS = [0.5, 1, 1.8] as const;
export const DEADLINES_S: Record<TrafficClass, number> = { critical: 60, high: 120, normal: 240, low: 480 };
export const CLOSED_DEADLINE_S = 540;

export function exponential(random: () => number, mean: number): number {
  return -mean * Math.log(1 - random());
}

/** The 24 agents of the benchmark, at rates that together offer `load` times the output limit. */
export function createAgents(options: WorkloadOptions, outputPerS: number): Agent[] {
  const agents: Agent[] = [];
  for (const [c, of] of CLASSES.entries()) {
    const count = AGENTS_PER_CLASS[c] ?? 0;
    for (let k = 0; k < count; k += 1) {
      // Counted from one: critical's busiest agent has no warm cache, so its bursts strain the input limit.
      const id = agents.length + 1;
      const medianOutput = (MEDIAN_OUTPUTS[(k + c) % 5] ?? 420) * options.outputFactor;
      const maxTokens = MAX_TOKENS[k % 4] ?? 8_192;
      const part = (k === 0 ? 5 : 1) / (count + 4);
      const meanOutput = meanOf(medianOutput, maxTokens);
      agents.push({
        ...{ id, name: `${of}-${k}`, class: of, medianOutput, maxTokens, meanOutput },
        rate: (options.load * outputPerS * (options.classShares[c] ?? 0) * part) / meanOutput,
        medianInput: 2_400 * 0.6 * (INPUT_FACTORS[k % 3] ?? 1) * options.inputFactor,
        cached: (7 * id) % 10 < 7,
      });
    }
  }
  return agents;
}

export function createJob(agent: Agent, id: number, arrivedS: number, deadlineS: number, random: () => number): Job {
  const input = clip(logNormal(random, agent.medianInput, 1.4), 200, 100_000);
  const isWarm = agent.cached && random() < 0.92;
  const uncached = isWarm ? Math.max(50, input * (1 - (0.7 + 0.28 * random()))) : input;
  return {
    ...{ id, agent: agent.name, class: agent.class, arrivedS, deadlineS, input, uncached },
    output: clip(logNormal(random, agent.medianOutput, 0.9), 20, Math.min(8_000, agent.maxTokens)),
    maxTokens: agent.maxTokens,
    ...paceOf(input, random),
  };
}

/** Arrival times of one agent until `endS`. */
export function* arrivals(
  agent: Agent,
  options: WorkloadOptions,
  endS: number,
  random: () => number,
): Generator<number> {
  const { step, shape } = options;
  const rateAt = (atS: number) => agent.rate * (step && atS >= step.atS ? step.load / options.load : 1);
  const highest = agent.rate * Math.max(1, step ? step.load / options.load : 1) * (shape === "bursty" ? 4 : 1);
  let on = random() < 0.25;
  let switchS = exponential(random, on ? 15 : 45);
  for (let atS = exponential(random, 1 / highest); atS < endS; atS += exponential(random, 1 / highest)) {
    while (switchS < atS) {
      on = !on;
      switchS += exponential(random, on ? 15 : 45);
    }
    const rate = shape === "bursty" ? (on ? 4 * rateAt(atS) : 0) : rateAt(atS);
    if (random() < rate / highest) yield atS;
  }
}

/** The calls of a trace, dealt to the agents in turn by their shares, sped up to `load` times the binding limit. */
export function traceJobs(
  calls: readonly TraceCall[],
  agents: readonly Agent[],
  options: { load: number; limits: readonly [number, number, number]; endS: number; random: () => number },
): Job[] {
  const { random, endS } = options;
  const lengthS = Math.max(1, (calls.at(-1)?.atMs ?? 0) / 1_000);
  const sum = (of: (call: TraceCall) => number) => calls.reduce((total, call) => total + of(call), 0);
  const uses = [calls.length, sum((call) => call.inputTokens), sum((call) => call.outputTokens)];
  const binding = Math.max(...uses.map((use, index) => use / lengthS / ((options.limits[index] ?? 1) / 60)));
  const speed = options.load / binding;
  const jobs: Job[] = [];
  // By their shares of the tokens, for here all agents' calls are alike.
  const shareOf = (agent: Agent) => agent.rate * agent.meanOutput;
  const shares = agents.reduce((total, agent) => total + shareOf(agent), 0);
  for (let round = 0; (round * lengthS) / speed < endS; round += 1) {
    for (const call of calls) {
      const arrivedS = (round * lengthS + call.atMs / 1_000) / speed;
      if (arrivedS >= endS) break;
      let pick = random() * shares;
      const agent = agents.find((one) => {
        pick -= shareOf(one);
        return pick < 0;
      });
      if (!agent) continue;
      jobs.push({
        ...{ id: jobs.length, agent: agent.name, class: agent.class, arrivedS },
        deadlineS: arrivedS + DEADLINES_S[agent.class],
        ...{ input: call.inputTokens, uncached: call.inputTokens, output: Math.max(1, call.outputTokens) },
        maxTokens: Math.max(4_096, call.outputTokens),
        ...paceOf(call.inputTokens, random),
      });
    }
  }
  return jobs;
}

/** What others send past the gateway: a fifth of the output limit. */
export function foreignLoad(agents: readonly Agent[], random: () => number) {
  const agent = agents[Math.floor(random() * agents.length)];
  const input = clip(logNormal(random, agent?.medianInput ?? 1_440, 1.4), 200, 100_000);
  const isWarm = (agent?.cached ?? false) && random() < 0.92;
  const uncached = isWarm ? Math.max(50, input * (1 - (0.7 + 0.28 * random()))) : input;
  const output = clip(logNormal(random, 600, 0.9), 20, 8_000);
  return { input, uncached, output, maxTokens: 8_192, tokensPerS: 40 + 40 * random(), foreign: true };
}

function paceOf(input: number, random: () => number) {
  return {
    tokensPerS: 40 + 40 * random(),
    firstTokenS: 0.4 + exponential(random, 0.4) + input / 40_000,
    guessedInput: input * Math.exp(0.12 * normal(random)),
    countError: Math.max(0.5, 1 + 0.08 * normal(random)),
  };
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function clip(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/** The mean of a clipped log-normal, summed over steps of its normal. */
function meanOf(median: number, maxTokens: number): number {
  let sum = 0;
  let weights = 0;
  for (let z = -6; z <= 6; z += 0.005) {
    const weight = Math.exp((-z * z) / 2);
    sum += weight * clip(median * Math.exp(0.9 * z), 20, Math.min(8_000, maxTokens));
    weights += weight;
  }
  return sum / weights;
}
