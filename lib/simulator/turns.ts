import type { PromptUsage } from "./prompt-cache.ts";

/** The kinds of entry in `usage.iterations`. */
export type TurnType = "message" | "compaction" | "advisor_message" | "fallback_message";

/** One sampling of a model inside an answer. Most answers are one turn; server tools and other models make more. */
export type Turn = {
  type: TurnType;
  model: string;
  prompt: PromptUsage;
  /** Its tokens. Of a turn beside the answer they come all at once, when it begins. */
  outputTokens: number;
  /** Tokens of the answer that are made before it begins. */
  fromOutput: number;
  /** Compaction, advisors and declined attempts are not in the totals of `usage`. */
  inTotals: boolean;
  /** A refusal before any output costs nothing, though it counts against the limits. */
  billed: boolean;
  /** A web search was made on its way. */
  webSearches: number;
};

export type TurnUsage = PromptUsage & { type: TurnType; model: string; outputTokens: number; billed: boolean };

/** What an answer has used up to some token of it. */
export type Tally = PromptUsage & { outputTokens: number; webSearches: number; turns: TurnUsage[] };

/** Sums what has begun when `produced` tokens of the answer are there. */
export function tallyAt(turns: readonly Turn[], produced: number): Tally {
  const sum = noPrompt();
  const tallied: TurnUsage[] = [];
  let webSearches = 0;
  for (const turn of turns) {
    if (turn.fromOutput > produced) continue;
    const made = Math.max(0, Math.min(turn.outputTokens, produced - turn.fromOutput));
    const outputTokens = turn.inTotals ? made : turn.outputTokens;
    const { type, model, billed } = turn;
    const { inputTokens, cacheWrite5m, cacheWrite1h, cacheRead } = turn.prompt;
    tallied.push({ inputTokens, cacheWrite5m, cacheWrite1h, cacheRead, type, model, billed, outputTokens });
    webSearches += turn.webSearches;
    if (turn.inTotals) addPrompt(sum, turn.prompt);
  }
  const { inputTokens, cacheWrite5m, cacheWrite1h, cacheRead } = sum;
  return { inputTokens, cacheWrite5m, cacheWrite1h, cacheRead, outputTokens: produced, webSearches, turns: tallied };
}

/** The tokens of all turns that cost money. */
export function billedUsage(tally: Tally): PromptUsage & { outputTokens: number } {
  const sum = { ...noPrompt(), outputTokens: 0 };
  for (const turn of tally.turns) {
    if (!turn.billed) continue;
    addPrompt(sum, turn);
    sum.outputTokens += turn.outputTokens;
  }
  return sum;
}

export function noPrompt(): PromptUsage {
  return { inputTokens: 0, cacheWrite5m: 0, cacheWrite1h: 0, cacheRead: 0 };
}

/** All tokens of a prompt, from wherever they come. */
export function promptTotal(prompt: PromptUsage): number {
  return prompt.inputTokens + prompt.cacheWrite5m + prompt.cacheWrite1h + prompt.cacheRead;
}

/** What of a prompt counts as input: cache reads are free in all pools but the oldest. */
export function countedInput(prompt: PromptUsage, cacheReadsCount: boolean): number {
  return prompt.inputTokens + prompt.cacheWrite5m + prompt.cacheWrite1h + (cacheReadsCount ? prompt.cacheRead : 0);
}

function addPrompt(sum: PromptUsage, prompt: PromptUsage): void {
  sum.inputTokens += prompt.inputTokens;
  sum.cacheWrite5m += prompt.cacheWrite5m;
  sum.cacheWrite1h += prompt.cacheWrite1h;
  sum.cacheRead += prompt.cacheRead;
}
