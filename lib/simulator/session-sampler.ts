import { poolOf } from "../anthropic/pools.ts";
import type { AgentVersion } from "./agents-endpoint.ts";
import { hashRequest, planAnswer } from "./answer.ts";
import { ApiError } from "./api-error.ts";
import { BlockProgress } from "./block-progress.ts";
import { type CallPlan, planCall } from "./call-plan.ts";
import { drawFault, refusalOf } from "./faults.ts";
import type { JsonObject } from "./field.ts";
import { NO_USAGE, toLedgerUsage, UNANSWERED } from "./ledger.ts";
import { wholeBlock } from "./message-events.ts";
import { type MessageRequest, parseMessageRequest } from "./message-request.ts";
import { findModel } from "./models.ts";
import { Pace } from "./pace.ts";
import { lookUpPrompt } from "./prompt-lookup.ts";
import { seeded } from "./seeded.ts";
import type { Wishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";
import { billedUsage, countedInput, type Tally, tallyAt } from "./turns.ts";

export type Sample = {
  /** The assistant's turn, as the conversation keeps it. */
  blocks: object[];
  text: string;
  toolCalls: { id: string; name: string; input: unknown }[];
  usage: object;
  refused: boolean;
  /** The model could not be reached for all tries. */
  failed: boolean;
};

type SampleInput = {
  agent: AgentVersion;
  conversation: readonly JsonObject[];
  wishes: Wishes;
  /** Ends the sampling; what is made until then is billed. */
  signal: AbortSignal;
  onRefused(error: object): void;
  onText(text: string, first: boolean): void;
};

const MAX_TOKENS = 16_000;
const TRIES = 5;
const TICK_MS = 40;
const NOTHING = { input_tokens: 0, output_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };

/**
 * Samples the model for a session. Its tokens count against the ordinary limits of the model's pool, as the
 * documentation says, and are booked sampling by sampling; no call of a client carries them.
 */
export class SessionSampler {
  #state: SimulatorState;
  #sessionId: string;
  #sum: Tally = tallyAt([], 0);

  constructor(state: SimulatorState, sessionId: string) {
    this.#state = state;
    this.#sessionId = sessionId;
  }

  /** Of all samplings so far, in the shape of `session.usage`. */
  get usage(): object {
    const { inputTokens, outputTokens, cacheRead, cacheWrite5m, cacheWrite1h } = this.#sum;
    return {
      input_tokens: inputTokens,
      output_tokens: outputTokens,
      cache_read_input_tokens: cacheRead,
      cache_creation: { ephemeral_5m_input_tokens: cacheWrite5m, ephemeral_1h_input_tokens: cacheWrite1h },
      list_cost: null,
    };
  }

  async sample(input: SampleInput): Promise<Sample> {
    const failed: Sample = { blocks: [], text: "", toolCalls: [], usage: NOTHING, refused: false, failed: true };
    for (let tries = 1; tries <= TRIES; tries += 1) {
      try {
        return await this.#try(input);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const last = tries === TRIES || error.status === 400 || error.status === 404;
        input.onRefused(sessionError(error, last));
        if (last) return failed;
        const waitSeconds = Number(error.headers["retry-after"] ?? 1);
        await this.#state.sleepUntil(this.#state.now() + waitSeconds * 1_000, input.signal);
        if (input.signal.aborted) return { ...failed, failed: false };
      }
    }
    return failed;
  }

  async #try({ agent, conversation, wishes, signal, onText }: SampleInput): Promise<Sample> {
    const state = this.#state;
    const request = requestOf(agent, conversation);
    const draws = seeded(state.nextDraw());
    const fault = drawFault(state.faults, draws());
    const refusal = fault && refusalOf(fault, false, draws());
    if (refusal) throw refusal;
    const beganMs = state.now();
    const prompt = lookUpPrompt(request, wishes, state.cache, beganMs);
    const pool = poolOf(request.model.id);
    const inputTokens = countedInput(prompt, pool.cacheReadsCount);
    const seed = hashRequest(request, state.seed);
    const answer = planAnswer(request, wishes, seed);
    const { maxTokens } = request;
    const { outputTokens } = answer;
    const call = { pool: pool.id, lane: request.lane, inputTokens, maxTokens, outputTokens };
    const admission = state.limits.admit(call, beganMs);
    if (!admission.admitted) {
      const headers = { "retry-after": String(admission.retryAfterSeconds) };
      throw new ApiError(429, "rate_limit_error", `The model's limit on ${admission.limiter} is reached.`, { headers });
    }
    const { charge, lane } = admission;
    const plan = planCall({ request, wishes, answer, prompt, charge, limits: state.limits, seed, nowMs: beganMs });
    const startMs = beganMs + (wishes.firstTokenMs ?? state.firstTokenMs);
    await state.sleepUntil(startMs, signal);
    prompt.commit(startMs);
    const pace = new Pace(outputTokens, wishes.tokensPerSecond ?? state.tokensPerSecond, startMs);
    plan.charge.begin(pace, startMs);
    await this.#tellText(plan, pace, signal, onText);
    const endedMs = state.now();
    pace.stop(endedMs);
    for (const turn of plan.turns) turn.onBegin?.(endedMs);
    plan.charge.end(pace, endedMs);
    const tally = tallyAt(plan.turns, pace.producedAt(endedMs));
    this.#book(request, plan, tally, { beganMs, lane, interrupted: signal.aborted });
    return sampleOf(plan, tally, signal.aborted, request.speed);
  }

  async #tellText(plan: CallPlan, pace: Pace, signal: AbortSignal, onText: SampleInput["onText"]): Promise<void> {
    const state = this.#state;
    let first = true;
    const progress = new BlockProgress(plan.answer.blocks, {
      start: () => "",
      piece: (block, _index, text) => (block.type === "text" ? text : ""),
      stop: () => "",
    });
    while (!signal.aborted) {
      const nowMs = state.now();
      const text = progress.advance(pace.producedAt(nowMs));
      if (text !== "") onText(text, first);
      first = first && text === "";
      if (nowMs >= pace.endMs) return;
      await state.sleepUntil(Math.min(nowMs + TICK_MS * state.timeScale, pace.endMs), signal);
    }
  }

  #book(
    request: MessageRequest,
    plan: CallPlan,
    tally: Tally,
    call: { beganMs: number; lane: "standard" | "priority" | "fast"; interrupted: boolean },
  ): void {
    const used = plan.billed ? billedUsage(tally) : { ...tally, ...NO_USAGE, outputTokens: 0 };
    for (const key of ["inputTokens", "cacheWrite5m", "cacheWrite1h", "cacheRead", "outputTokens"] as const) {
      this.#sum[key] += used[key];
    }
    this.#state.ledger.record({
      ...UNANSWERED,
      origin: { kind: "session", sessionId: this.#sessionId },
      requestId: "",
      at: new Date(call.beganMs).toISOString(),
      method: "POST",
      endpoint: `/v1/sessions/${this.#sessionId}`,
      model: plan.servedBy.id,
      pool: poolOf(plan.servedBy.id).id,
      lane: call.lane,
      status: 200,
      stopReason: call.interrupted ? null : plan.answer.stopReason,
      usage: toLedgerUsage(plan.billed ? billedUsage(tally) : tally),
      serviceTier: call.lane === "priority" ? "priority" : "standard",
      speed: request.speed,
      inferenceGeo: request.inferenceGeo,
      billed: plan.billed,
    });
  }
}

function requestOf(agent: AgentVersion, conversation: readonly JsonObject[]): MessageRequest {
  const tools = agent.tools.filter((tool) => tool.type === "custom").map(({ type: _, ...tool }) => tool);
  const model = String(agent.model.id);
  const body = {
    model,
    max_tokens: Math.min(MAX_TOKENS, findModel(model)?.maxOutputTokens ?? MAX_TOKENS),
    messages: conversation,
    speed: agent.model.speed,
    ...(agent.model.inference_geo ? { inference_geo: agent.model.inference_geo } : {}),
    ...(agent.system ? { system: agent.system } : {}),
    ...(tools.length > 0 ? { tools } : {}),
  };
  const betas = ["fast-mode-2026-02-01"];
  return parseMessageRequest(body, { endpoint: "messages", version: "2026-10-21", betas });
}

function sampleOf(plan: CallPlan, tally: Tally, interrupted: boolean, speed: string): Sample {
  const blocks = interrupted ? [] : plan.answer.blocks;
  const usage = {
    input_tokens: tally.inputTokens,
    output_tokens: tally.outputTokens,
    cache_creation_input_tokens: tally.cacheWrite5m + tally.cacheWrite1h,
    cache_read_input_tokens: tally.cacheRead,
    speed,
  };
  return {
    // What the model answered goes back to it without the fields that only answers have.
    blocks: blocks.map((block) => (block.type === "text" ? { type: "text", text: block.text } : wholeBlock(block))),
    text: blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join(""),
    toolCalls: blocks.flatMap((block) => {
      if (block.type !== "tool_use") return [];
      const input: unknown = JSON.parse(block.text);
      return [{ id: block.id, name: block.name, input }];
    }),
    usage,
    refused: plan.answer.stopReason === "refusal",
    failed: false,
  };
}

function sessionError(error: ApiError, last: boolean): object {
  const type =
    error.status === 429
      ? "model_rate_limited_error"
      : error.status === 529
        ? "model_overloaded_error"
        : "model_request_failed_error";
  return { type, message: error.message, retry_status: { type: last ? "exhausted" : "retrying" } };
}
