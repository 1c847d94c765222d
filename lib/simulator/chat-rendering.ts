import type { AnswerBlock } from "./answer.ts";
import type { ApiError } from "./api-error.ts";
import { BlockProgress } from "./block-progress.ts";
import type { CallPlan } from "./call-plan.ts";
import type { Rendering } from "./rendering.ts";
import type { StopReason } from "./simulator-headers.ts";
import { promptTotal, tallyAt } from "./turns.ts";

const FINISH_REASONS: Record<StopReason, string> = {
  end_turn: "stop",
  stop_sequence: "stop",
  pause_turn: "stop",
  tool_use: "tool_calls",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  refusal: "content_filter",
};

/** An answer in OpenAI's shape. Thinking is not shown, and usage has two counts without details. */
export class ChatRendering implements Rendering {
  /** A comment: the shape knows no ping. */
  readonly ping = ": ping\n\n";
  #plan: CallPlan;
  #id: string;
  #created: number;
  #includeUsage: boolean;
  #progress: BlockProgress;
  #toolCalls = 0;

  constructor(plan: CallPlan, context: { id: string; createdMs: number; includeUsage: boolean }) {
    this.#plan = plan;
    this.#id = context.id;
    this.#created = Math.floor(context.createdMs / 1_000);
    this.#includeUsage = context.includeUsage;
    this.#progress = new BlockProgress(plan.answer.blocks, {
      start: (block) => this.#start(block),
      piece: (block, _index, text) => this.#piece(block, text),
      stop: () => "",
    });
  }

  whole(): string {
    const { answer } = this.#plan;
    const text = answer.blocks.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
    const calls = answer.blocks.flatMap((block) => (block.type === "tool_use" ? [callOf(block, block.text)] : []));
    const message = {
      role: "assistant",
      content: text === "" && calls.length > 0 ? null : text,
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    };
    const choice = { index: 0, message, finish_reason: FINISH_REASONS[answer.stopReason] };
    return JSON.stringify({ ...this.#head("chat.completion"), choices: [choice], usage: this.#usage() });
  }

  open(): string {
    return this.#chunk({ role: "assistant", content: "" });
  }

  advance(produced: number): string {
    return this.#progress.advance(produced);
  }

  close(): string {
    const last = this.#chunk({}, FINISH_REASONS[this.#plan.answer.stopReason]);
    const usage = { ...this.#head("chat.completion.chunk"), choices: [], usage: this.#usage() };
    return `${last}${this.#includeUsage ? sse(usage) : ""}data: [DONE]\n\n`;
  }

  fail(error: ApiError): string {
    return sse(chatErrorBody(error));
  }

  #start(block: AnswerBlock): string {
    if (block.type !== "tool_use") return "";
    this.#toolCalls += 1;
    return this.#chunk({ tool_calls: [{ index: this.#toolCalls - 1, ...callOf(block, "") }] });
  }

  #piece(block: AnswerBlock, text: string): string {
    if (block.type === "text") return this.#chunk({ content: text });
    if (block.type !== "tool_use") return "";
    return this.#chunk({ tool_calls: [{ index: this.#toolCalls - 1, function: { arguments: text } }] });
  }

  #chunk(delta: object, finish: string | null = null): string {
    const choices = [{ index: 0, delta, finish_reason: finish }];
    const usage = this.#includeUsage ? { usage: null } : {};
    return sse({ ...this.#head("chat.completion.chunk"), choices, ...usage });
  }

  #head(object: string): object {
    return { id: this.#id, object, created: this.#created, model: this.#plan.servedBy.id };
  }

  #usage(): object {
    const tally = tallyAt(this.#plan.turns, this.#plan.answer.outputTokens);
    const prompt_tokens = promptTotal(tally);
    const completion_tokens = tally.outputTokens;
    return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
  }
}

/** Errors in OpenAI's shape. */
export function chatErrorBody(error: ApiError): object {
  return { error: { code: error.errorCode, message: error.message, param: null, type: error.type } };
}

function callOf(block: AnswerBlock & { id: string; name: string }, text: string): object {
  return { id: block.id, type: "function", function: { name: block.name, arguments: text } };
}

function sse(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
