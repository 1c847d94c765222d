import type { ApiError } from "./api-error.ts";
import { BlockProgress } from "./block-progress.ts";
import type { CallPlan } from "./call-plan.ts";
import { MESSAGE_EVENTS, PING, sseEvent, wholeBlock } from "./message-events.ts";
import type { MessageRequest } from "./message-request.ts";
import type { Rendering } from "./rendering.ts";
import { tallyAt } from "./turns.ts";
import { cumulative, type ServiceTier, type UsageSource, usageBody } from "./usage-body.ts";

const NOT_STOPPED = { stop_reason: null, stop_sequence: null, stop_details: null };

/** An answer as `/v1/messages` writes it. */
export class MessageRendering implements Rendering {
  readonly ping = PING;
  #request: MessageRequest;
  #plan: CallPlan;
  #serviceTier: ServiceTier;
  #messageId: string;
  #events: BlockProgress;
  /** The next turn whose beginning a `message_delta` will tell. */
  #turn = 0;

  constructor(request: MessageRequest, plan: CallPlan, serviceTier: ServiceTier, messageId: string) {
    this.#request = request;
    this.#plan = plan;
    this.#serviceTier = serviceTier;
    this.#messageId = messageId;
    this.#events = new BlockProgress(plan.answer.blocks, MESSAGE_EVENTS);
  }

  whole(): string {
    return JSON.stringify(this.message());
  }

  /** The whole message, as a batch's results hold it too. */
  message(): object {
    const { answer } = this.#plan;
    return { ...this.#body(answer.outputTokens), content: answer.blocks.map(wholeBlock), ...this.#stop() };
  }

  open(): string {
    const first = Math.min(1, this.#plan.answer.outputTokens);
    return sseEvent("message_start", { message: { ...this.#body(0, first), content: [], ...NOT_STOPPED } });
  }

  /** Totals grow with every turn that server tools add; each is told when it begins. */
  advance(produced: number): string {
    let events = "";
    for (let turn = this.#plan.turns[this.#turn]; turn && turn.fromOutput <= produced; ) {
      if (turn.fromOutput > 0) {
        events += this.#events.advance(turn.fromOutput) + this.#delta(turn.fromOutput, { ...NOT_STOPPED });
      }
      this.#turn += 1;
      turn = this.#plan.turns[this.#turn];
    }
    return events + this.#events.advance(produced);
  }

  close(): string {
    const { stop_reason, stop_sequence, stop_details } = this.#stop();
    const delta = { stop_reason, stop_sequence, stop_details };
    return this.#delta(this.#plan.answer.outputTokens, delta) + sseEvent("message_stop", {});
  }

  fail(error: ApiError): string {
    return sseEvent("error", { error: { type: error.type, message: error.message } });
  }

  #delta(produced: number, stop: object): string {
    return sseEvent("message_delta", {
      delta: { ...stop, container: null },
      usage: cumulative(this.#usageAt(produced)),
      ...this.#context(),
    });
  }

  #body(produced: number, outputTokens = produced): object {
    const usage = this.#usageAt(produced);
    return {
      model: this.#plan.servedBy.id,
      id: this.#messageId,
      type: "message",
      role: "assistant",
      container: null,
      diagnostics: null,
      ...this.#context(),
      usage: usageBody({ ...usage, tally: { ...usage.tally, outputTokens } }, this.#request, this.#serviceTier),
    };
  }

  #usageAt(produced: number): UsageSource {
    const { turns, answer, listsIterations } = this.#plan;
    return { tally: tallyAt(turns, produced), thinkingTokens: answer.thinkingTokens, listsIterations };
  }

  #context(): object {
    return this.#request.contextEdits ? { context_management: { applied_edits: [] } } : {};
  }

  #stop(): { stop_reason: string; stop_sequence: string | null; stop_details: object | null } {
    const { answer } = this.#plan;
    const refused = answer.stopReason === "refusal";
    return {
      stop_reason: answer.stopReason,
      stop_sequence: answer.stopSequence,
      stop_details: refused ? { type: "refusal", category: null, explanation: null } : null,
    };
  }
}
