import type { ApiError } from "./api-error.ts";
import { invalidRequest, notFound } from "./api-error.ts";
import { parseVersion } from "./api-version.ts";
import { BlockProgress } from "./block-progress.ts";
import type { CallPlan } from "./call-plan.ts";
import type { Exchange } from "./exchange.ts";
import { asInteger, asString, isObject, type JsonObject, onlyKeys } from "./field.ts";
import { PING, sseEvent } from "./message-events.ts";
import { parseMessageRequest } from "./message-request.ts";
import { noteRequest } from "./messages-endpoint.ts";
import type { Rendering } from "./rendering.ts";
import { readJson } from "./request-body.ts";
import { serveCall } from "./serve-call.ts";
import { parseWishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";

const KEYS: ReadonlySet<string> = new Set([
  ...["model", "prompt", "max_tokens_to_sample", "stop_sequences", "stream", "temperature", "top_p", "top_k"],
  "metadata",
]);

/** `POST /v1/complete`, which version 2026-10-21 no longer has. Its answers carry no usage; the ledger does. */
export async function createCompletion(exchange: Exchange, state: SimulatorState): Promise<void> {
  if (parseVersion(exchange.header("anthropic-version")) !== "2023-06-01") throw notFound();
  const wishes = parseWishes(exchange.request.headers);
  const request = parseMessageRequest(toMessageBody(await readJson(exchange.request)), {
    endpoint: "messages",
    version: "2023-06-01",
    betas: [],
  });
  noteRequest(exchange, request);
  await serveCall(exchange, state, request, wishes, {
    render: (plan, _serviceTier, id) => new CompletionRendering(plan, id.replace(/^msg/, "compl")),
  });
}

function toMessageBody(body: unknown): JsonObject {
  if (!isObject(body)) throw invalidRequest("Input should be a valid dictionary or object to extract fields from");
  onlyKeys(body, "", KEYS);
  const prompt = asString(body.prompt, "prompt");
  const text = /^\s*\n\nHuman:([\s\S]*)\n\nAssistant:\s*$/.exec(prompt)?.[1]?.trim();
  if (!text) throw invalidRequest('prompt must start with "\n\nHuman:" turn and end with an "\n\nAssistant:" turn');
  const { model, stop_sequences, stream, temperature, top_p, top_k, metadata } = body;
  return {
    ...{ model, stop_sequences, stream, temperature, top_p, top_k, metadata },
    max_tokens: asInteger(body.max_tokens_to_sample, "max_tokens_to_sample", 1),
    messages: [{ role: "user", content: text }],
  };
}

/** The old shape: one text, and what ended it. */
class CompletionRendering implements Rendering {
  readonly ping = PING;
  #plan: CallPlan;
  #id: string;
  #progress: BlockProgress;

  constructor(plan: CallPlan, id: string) {
    this.#plan = plan;
    this.#id = id;
    this.#progress = new BlockProgress(plan.answer.blocks, {
      start: () => "",
      piece: (block, _index, text) => (block.type === "text" ? this.#event(text) : ""),
      stop: () => "",
    });
  }

  whole(): string {
    const texts = this.#plan.answer.blocks.flatMap((block) => (block.type === "text" ? [block.text] : []));
    return JSON.stringify({ type: "completion", ...this.#body(texts.join(""), true) });
  }

  open(): string {
    return PING;
  }

  advance(produced: number): string {
    return this.#progress.advance(produced);
  }

  close(): string {
    return sseEvent("completion", this.#body("", true));
  }

  fail(error: ApiError): string {
    return sseEvent("error", { error: { type: error.type, message: error.message } });
  }

  #event(text: string): string {
    return sseEvent("completion", this.#body(text, false));
  }

  #body(completion: string, ended: boolean): object {
    const { answer, servedBy } = this.#plan;
    const reason = answer.stopReason === "max_tokens" ? "max_tokens" : "stop_sequence";
    const stop = answer.stopSequence ?? "\n\nHuman:";
    return {
      id: this.#id,
      completion,
      stop_reason: ended ? reason : null,
      model: servedBy.id,
      stop: ended && reason === "stop_sequence" ? stop : null,
      log_id: this.#id,
    };
  }
}
