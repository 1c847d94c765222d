import { getPool, poolOf } from "../anthropic/pools.ts";
import { type Answer, type AnswerBlock, askedFor, planAnswer } from "./answer.ts";
import { invalidRequest } from "./api-error.ts";
import type { Charge } from "./charge.ts";
import type { MessageRequest } from "./message-request.ts";
import { findModel, type SimulatedModel } from "./models.ts";
import type { OrganizationLimits } from "./organization-limits.ts";
import type { PromptUsage } from "./prompt-cache.ts";
import { seeded } from "./seeded.ts";
import { advisorBlocks, findServerTool, insertSearches, TOKENS_PER_SEARCH } from "./server-tools.ts";
import type { IterationWish, Wishes } from "./simulator-headers.ts";
import { countedInput, noPrompt, promptTotal, type Turn } from "./turns.ts";

/** A turn and what has to be charged when it begins; null where admission or the answer's pace charges it. */
export type PlannedTurn = Turn & { onBegin: ((nowMs: number) => void) | null };

/** Everything that one call will come to. */
export type CallPlan = {
  answer: Answer;
  turns: PlannedTurn[];
  /** The model that the answer names: another than was asked for after a fallback. */
  servedBy: SimulatedModel;
  /** Charged as the answer is made. */
  charge: Charge;
  listsIterations: boolean;
  /** False for a refusal before any output. */
  billed: boolean;
};

type PlanInput = {
  request: MessageRequest;
  wishes: Wishes;
  answer: Answer;
  prompt: PromptUsage;
  charge: Charge;
  limits: OrganizationLimits;
  seed: number;
  nowMs: number;
};

const COMPACTION_TOKENS = 800;
const ADVICE_TOKENS = 300;
const SUMMARY = "They talked about limits, and agreed to measure before they change anything.";

/**
 * Plans the samplings of an admitted call. Nearly always that is the one; compaction, an advisor, searches or a
 * fallback add theirs, each drawing on the pool of its own model.
 */
export function planCall(input: PlanInput): CallPlan {
  const { request, wishes, answer, prompt, charge } = input;
  const listsIterations = request.iterations || wishes.iterations !== null;
  const plain = answer.stopReason !== "refusal" || answer.outputTokens > 0;
  const plan: CallPlan = {
    answer,
    turns: [turnOf("message", request.model.id, prompt, answer.outputTokens)],
    servedBy: request.model,
    charge,
    listsIterations,
    billed: plain,
  };
  if (plain && !listsIterations && request.tools.length === 0 && wishes.webSearches === null) return plan;
  const random = seeded(input.seed);
  if (listsIterations) {
    addFallback(plan, input);
    addCompaction(plan, input);
  }
  addSearches(plan, input, random);
  if (listsIterations) addAdvisors(plan, input, random);
  return plan;
}

function turnOf(type: Turn["type"], model: string, prompt: PromptUsage, outputTokens: number): PlannedTurn {
  const common = { fromOutput: 0, inTotals: true, billed: true, webSearches: 0, onBegin: null };
  return { ...common, type, model, prompt, outputTokens };
}

/** A sampling whose tokens no total has: it is made, and charged, at once. */
function besideTurn(
  turn: { type: Turn["type"]; model: string; prompt: PromptUsage; outputTokens: number; billed?: boolean },
  onBegin: PlannedTurn["onBegin"],
): PlannedTurn {
  return { fromOutput: 0, inTotals: false, billed: true, webSearches: 0, onBegin, ...turn };
}

function wishedOf(wishes: Wishes, kind: IterationWish["kind"]): IterationWish[] {
  return wishes.iterations?.filter((entry) => entry.kind === kind) ?? [];
}

function uncached(inputTokens: number): PromptUsage {
  return { ...noPrompt(), inputTokens };
}

/**
 * The model declines, and the next one of the chain that has room answers in its place. Wishes that name several make
 * each but the last decline in its turn.
 */
function addFallback(plan: CallPlan, { request, wishes, prompt, charge, limits, seed, nowMs }: PlanInput): void {
  const wished = wishedOf(wishes, "fallback");
  const chain = wished.length > 0 ? wished : plan.billed ? [] : request.fallbacks.map(unwished);
  const hops = Math.max(1, wished.length);
  const inputTokens = promptTotal(prompt);
  const declined: PlannedTurn[] = [];
  const blocks: AnswerBlock[] = [];
  let at = { model: request.model, prompt, charge };
  for (const { model, ...made } of chain) {
    if (model === null || declined.length === hops) continue;
    const { maxTokens } = request;
    const pool = getPool(poolOf(model.id).id).id;
    const admission = limits.admit({ pool, lane: "standard", inputTokens, maxTokens }, nowMs);
    if (!admission.admitted) continue;
    at.charge.abandon(nowMs);
    declined.push(declinedTurn(at, made));
    const trigger = { type: "refusal", category: null };
    const content = { type: "fallback", from: { model: at.model.id }, to: { model: model.id }, trigger };
    blocks.push({ type: "fixed", tokens: 0, text: "", content });
    at = { model, prompt: uncached(inputTokens), charge: admission.charge };
  }
  if (declined.length === 0) return;
  // Whatever made the requested model refuse does not bind the next one.
  const stopReason = wishes.stopReason === "refusal" ? null : wishes.stopReason;
  const answer = planAnswer(request, { ...wishes, stopReason }, seed);
  plan.answer = { ...answer, blocks: [...blocks, ...answer.blocks] };
  plan.turns = [...declined, turnOf("fallback_message", at.model.id, at.prompt, answer.outputTokens)];
  plan.servedBy = at.model;
  plan.charge = at.charge;
  plan.billed = true;
}

function unwished(model: SimulatedModel): IterationWish {
  return { kind: "fallback", model, inputTokens: null, outputTokens: null };
}

/** What a model has used when it declines; nothing of it is billed unless it had begun to answer. */
function declinedTurn(
  at: { model: SimulatedModel; prompt: PromptUsage; charge: Charge },
  made: Pick<IterationWish, "inputTokens" | "outputTokens">,
): PlannedTurn {
  const outputTokens = made.outputTokens ?? 0;
  const prompt = made.inputTokens ? uncached(made.inputTokens) : at.prompt;
  const difference = promptTotal(prompt) - promptTotal(at.prompt);
  const turn = { type: "message" as const, model: at.model.id, prompt, outputTokens, billed: outputTokens > 0 };
  return besideTurn(turn, (nowMs) => {
    at.charge.correctInput(difference, nowMs);
    at.charge.takeOutput(outputTokens, nowMs);
  });
}

/** Every search ends a sampling; the next one reads the same prompt again, and what was found. */
function addSearches(plan: CallPlan, { request, wishes, limits, nowMs }: PlanInput, random: () => number): void {
  const tool = findServerTool(request.tools, "web_search_");
  if (!tool && wishes.webSearches) {
    throw invalidRequest("x-simulator-web-searches: the request gives no tool of a type web_search_…");
  }
  const wanted = wishes.webSearches ?? (tool && askedFor(request)?.name === tool.name ? 1 : 0);
  const first = plan.turns.at(-1);
  if (wanted === 0 || !first) return;
  const admit = () => limits.admitRequest("web_search", nowMs) === null;
  const { blocks, steps } = insertSearches(plan.answer.blocks, wanted, admit, random);
  if (steps.length === 0) return;
  const pool = getPool(poolOf(first.model).id);
  const { charge } = plan;
  const turns = [first, ...steps].map((step, index): PlannedTurn => {
    const fromOutput = index === 0 ? 0 : step.fromOutput;
    const until = steps[index]?.fromOutput ?? plan.answer.outputTokens;
    const searches = steps.slice(0, index).filter((earlier) => earlier.searched).length;
    const again = {
      inputTokens: first.prompt.inputTokens + fromOutput + searches * TOKENS_PER_SEARCH,
      cacheWrite5m: 0,
      cacheWrite1h: 0,
      cacheRead: first.prompt.cacheRead + first.prompt.cacheWrite5m + first.prompt.cacheWrite1h,
    };
    return {
      ...first,
      type: index === steps.length ? first.type : "message",
      prompt: index === 0 ? first.prompt : again,
      fromOutput,
      outputTokens: until - fromOutput,
      webSearches: index > 0 && steps[index - 1]?.searched ? 1 : 0,
      onBegin: index === 0 ? null : (at) => charge.correctInput(countedInput(again, pool.cacheReadsCount), at),
    };
  });
  plan.turns = [...plan.turns.slice(0, -1), ...turns];
  plan.answer = { ...plan.answer, blocks };
}

/** An advisor draws on its own model's pool, and where that has no room the tool's result says so. */
function addAdvisors(
  plan: CallPlan,
  { request, wishes, prompt, limits, nowMs }: PlanInput,
  random: () => number,
): void {
  const tool = findServerTool(request.tools, "advisor_");
  const named = typeof tool?.model === "string" ? findModel(tool.model) : null;
  if (tool && !named) throw invalidRequest(`tools: the advisor's model is unknown: ${String(tool.model)}`);
  const wished = wishedOf(wishes, "advisor");
  const own: IterationWish[] = named ? [{ kind: "advisor", model: named, inputTokens: null, outputTokens: null }] : [];
  for (const wish of wished.length > 0 ? wished : own) {
    if (!wish.model || !plan.billed) continue;
    const inputTokens = wish.inputTokens ?? promptTotal(prompt);
    const outputTokens = wish.outputTokens ?? ADVICE_TOKENS;
    const pool = poolOf(wish.model.id).id;
    const admission = limits.admit(
      { pool, lane: "standard", inputTokens, maxTokens: outputTokens, outputTokens },
      nowMs,
    );
    plan.answer = { ...plan.answer, blocks: beforeLast(plan.answer.blocks, advisorBlocks(admission.admitted, random)) };
    if (!admission.admitted) continue;
    const { charge } = admission;
    const advice = {
      type: "advisor_message" as const,
      model: wish.model.id,
      prompt: uncached(inputTokens),
      outputTokens,
    };
    const turn = besideTurn(advice, (at) => {
      charge.abandon(at);
      charge.takeOutput(outputTokens, at);
    });
    plan.turns = [turn, ...plan.turns];
  }
}

function beforeLast(blocks: readonly AnswerBlock[], added: readonly AnswerBlock[]): AnswerBlock[] {
  return [...blocks.slice(0, -1), ...added, ...blocks.slice(-1)];
}

/** A long conversation is summed up first, by the requested model; the answer then reads the summary. */
function addCompaction(plan: CallPlan, { request, wishes, prompt, charge }: PlanInput): void {
  const [wish] = wishedOf(wishes, "compaction");
  const due = request.compactFrom !== null && promptTotal(prompt) >= request.compactFrom;
  const main = plan.turns.find((turn) => turn.inTotals);
  if ((!wish && !due) || !main || !plan.billed) return;
  const outputTokens = wish?.outputTokens ?? COMPACTION_TOKENS;
  const closed = due ? main.prompt : uncached(wish?.inputTokens ?? promptTotal(prompt));
  const turn = besideTurn({ type: "compaction", model: request.model.id, prompt: closed, outputTokens }, (at) => {
    // What admission charged was the conversation; the answer's prompt, or the compaction's, comes on top.
    charge.correctInput(due ? outputTokens : closed.inputTokens, at);
    charge.takeOutput(outputTokens, at);
  });
  if (due) main.prompt = uncached(outputTokens);
  plan.turns = [turn, ...plan.turns];
  plan.answer = {
    ...plan.answer,
    blocks: [{ type: "compaction", tokens: 0, text: SUMMARY }, ...plan.answer.blocks],
  };
}
