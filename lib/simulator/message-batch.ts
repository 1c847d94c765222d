import { poolOf } from "../anthropic/pools.ts";
import { hashRequest, planAnswer } from "./answer.ts";
import { ApiError, invalidRequest } from "./api-error.ts";
import type { ApiVersion } from "./api-version.ts";
import { type CallPlan, planCall } from "./call-plan.ts";
import type { Charge } from "./charge.ts";
import { drawFault, refusalOf } from "./faults.ts";
import { type LedgerEntry, NO_USAGE, toLedgerIterations, toLedgerUsage, UNANSWERED } from "./ledger.ts";
import { MessageRendering } from "./message-rendering.ts";
import { type MessageRequest, parseMessageRequest } from "./message-request.ts";
import { lookUpPrompt } from "./prompt-lookup.ts";
import { seeded, wireId } from "./seeded.ts";
import type { Wishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";
import { billedUsage, tallyAt } from "./turns.ts";

export const BATCH_EXPIRES_MS = 24 * 3_600_000;
const RESULTS_KEPT_MS = 29 * 24 * 3_600_000;

export type BatchItem = { customId: string; params: unknown };
type Outcome =
  | { type: "succeeded"; request: MessageRequest; plan: CallPlan; messageId: string }
  | { type: "errored"; error: ApiError }
  | { type: "canceled" | "expired" };
type Result = { customId: string; outcome: Outcome };

/** Batches draw on no pool: their capacity is their own. */
const NO_CHARGE: Charge = {
  correctInput: () => {},
  takeOutput: () => {},
  begin: () => {},
  end: () => {},
  abandon: () => {},
};

/**
 * One batch. Its requests are done one after the other, in an order of their own, between its creation and its end; what
 * came of them is known when all are, and then it is booked, request by request. Nothing runs meanwhile: whoever asks
 * says what time it is.
 */
export class MessageBatch {
  readonly id: string;
  readonly createdMs: number;
  readonly size: number;
  #endsMs: number;
  #processingMs: number;
  #cancelMs: number | null = null;
  #items: BatchItem[];
  #results: Result[] | null = null;
  #context: { version: ApiVersion; betas: readonly string[]; wishes: Wishes };

  constructor(
    items: BatchItem[],
    context: { version: ApiVersion; betas: readonly string[]; wishes: Wishes },
    batch: { id: string; nowMs: number; processingMs: number; random: () => number },
  ) {
    this.id = batch.id;
    this.createdMs = batch.nowMs;
    this.size = items.length;
    this.#context = context;
    this.#processingMs = batch.processingMs;
    this.#endsMs = batch.nowMs + Math.min(batch.processingMs, BATCH_EXPIRES_MS);
    this.#items = shuffle(items, batch.random);
  }

  /** Ended, and what came of every request. Null while it is not. */
  get results(): readonly Result[] | null {
    return this.#results;
  }

  /** Stops what has not begun. Requests that are being made when it is asked for are let end. */
  cancel(nowMs: number): void {
    if (this.#results || this.#cancelMs !== null) return;
    this.#cancelMs = nowMs;
    this.#endsMs = Math.min(this.#endsMs, nowMs + Math.ceil(this.#processingMs / 10));
  }

  /** Ends the batch when its time has come, and books its requests. */
  settle(state: SimulatorState, nowMs: number): void {
    if (this.#results || nowMs < this.#endsMs) return;
    this.#results = this.#items.map((item, index) => {
      const doneMs = this.createdMs + Math.ceil((this.#processingMs * (index + 1)) / this.size);
      const outcome = this.#outcomeOf(item, state, doneMs);
      state.ledger.record(this.#entry(item, outcome, Math.min(doneMs, this.#endsMs)));
      return { customId: item.customId, outcome };
    });
    this.#items = [];
  }

  /** In the shape of `GET /v1/messages/batches/{id}`. `origin` is how the caller reaches the API. */
  body(origin: string, nowMs: number): object {
    const counts = { processing: this.size, succeeded: 0, errored: 0, canceled: 0, expired: 0 };
    for (const { outcome } of this.#results ?? []) {
      counts[outcome.type] += 1;
      counts.processing -= 1;
    }
    const status = this.#results ? "ended" : this.#cancelMs === null ? "in_progress" : "canceling";
    const archivedMs = this.createdMs + RESULTS_KEPT_MS;
    const kept = this.#results !== null && nowMs < archivedMs;
    return {
      id: this.id,
      type: "message_batch",
      processing_status: status,
      request_counts: counts,
      ended_at: this.#results ? iso(this.#endsMs) : null,
      created_at: iso(this.createdMs),
      expires_at: iso(this.createdMs + BATCH_EXPIRES_MS),
      archived_at: this.#results && !kept ? iso(archivedMs) : null,
      cancel_initiated_at: this.#cancelMs === null ? null : iso(this.#cancelMs),
      results_url: kept ? `${origin}/v1/messages/batches/${this.id}/results` : null,
    };
  }

  /** Whether results can be fetched. */
  hasResults(nowMs: number): boolean {
    return this.#results !== null && nowMs < this.createdMs + RESULTS_KEPT_MS;
  }

  #outcomeOf(item: BatchItem, state: SimulatorState, doneMs: number): Outcome {
    if (doneMs > this.createdMs + BATCH_EXPIRES_MS) return { type: "expired" };
    if (this.#cancelMs !== null && doneMs > this.#cancelMs) return { type: "canceled" };
    try {
      return this.#answer(item, state, doneMs);
    } catch (error) {
      if (error instanceof ApiError) return { type: "errored", error };
      throw error;
    }
  }

  #answer({ params }: BatchItem, state: SimulatorState, nowMs: number): Outcome {
    const { version, betas, wishes } = this.#context;
    const request = parseMessageRequest(params, { endpoint: "messages", version, betas });
    if (request.stream) throw invalidRequest("stream: streaming is not supported in Message Batches");
    if (request.maxTokens === 0) throw invalidRequest("max_tokens: Input should be greater than or equal to 1");
    if (request.lane === "fast") throw invalidRequest("speed: fast mode is not supported in Message Batches");
    const draws = seeded(state.nextDraw());
    const fault = wishes.fault ?? drawFault(state.faults, draws());
    const refusal = fault && refusalOf(fault, false, draws());
    if (refusal) throw refusal;
    const prompt = lookUpPrompt(request, wishes, state.cache, nowMs);
    prompt.commit(nowMs);
    const seed = hashRequest(request, state.seed);
    const asked = fault === "refusal" ? { ...wishes, stopReason: "refusal" as const } : wishes;
    const answer = planAnswer(request, asked, seed);
    const plan = planCall({ request, wishes, answer, prompt, charge: NO_CHARGE, limits: state.limits, seed, nowMs });
    return { type: "succeeded", request, plan, messageId: wireId("msg", draws) };
  }

  #entry({ customId }: BatchItem, outcome: Outcome, atMs: number): Omit<LedgerEntry, "sequence"> {
    const common = {
      ...UNANSWERED,
      origin: { kind: "batch" as const, batchId: this.id, customId },
      requestId: "",
      at: iso(atMs),
      method: "POST",
      endpoint: "/v1/messages/batches",
      usage: { ...NO_USAGE },
      billed: false,
      status: 0,
    };
    if (outcome.type === "errored") {
      const { status, type, errorCode } = outcome.error;
      return { ...common, status, errorType: type, errorCode };
    }
    if (outcome.type !== "succeeded") return { ...common, errorType: outcome.type };
    const { request, plan } = outcome;
    const tally = tallyAt(plan.turns, plan.answer.outputTokens);
    return {
      ...common,
      status: 200,
      model: plan.servedBy.id,
      pool: poolOf(plan.servedBy.id).id,
      stopReason: plan.answer.stopReason,
      usage: toLedgerUsage(plan.billed ? billedUsage(tally) : tally),
      iterations: plan.listsIterations ? toLedgerIterations(tally) : null,
      webSearchRequests: tally.webSearches,
      serviceTier: "batch",
      speed: request.speed,
      inferenceGeo: request.inferenceGeo,
      billed: plan.billed,
    };
  }
}

/** One line of the results. Errors have the body that `/v1/messages` would have answered with. */
export function resultLine({ customId, outcome }: Result, requestId: string): string {
  return `${JSON.stringify({ custom_id: customId, result: resultOf(outcome, requestId) })}\n`;
}

function resultOf(outcome: Outcome, requestId: string): object {
  if (outcome.type === "errored") return { type: "errored", error: outcome.error.body(requestId) };
  if (outcome.type !== "succeeded") return { type: outcome.type };
  const { request, plan, messageId } = outcome;
  return { type: "succeeded", message: new MessageRendering(request, plan, "batch", messageId).message() };
}

function shuffle(items: readonly BatchItem[], random: () => number): BatchItem[] {
  const order = items.map((item) => ({ item, rank: random() }));
  return order.sort((a, b) => a.rank - b.rank).map(({ item }) => item);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
