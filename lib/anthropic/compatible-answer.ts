import { type ErrorDetail, parseErrorDetail } from "./error-detail.ts";
import { findElements, findTopLevelValues, parseValue } from "./json-scan.ts";
import { LineSplitter } from "./line-splitter.ts";
import { NO_USAGE, type Usage } from "./usage.ts";

/**
 * Answers of the two endpoints beside Messages: `/v1/chat/completions` in OpenAI's shape, whose usage has two counts and
 * in a stream comes only when it was asked for, and the old `/v1/complete`, which has none.
 */
export type CompatibleSummary = {
  model: string | null;
  /** `finish_reason` or `stop_reason`, as sent. */
  stopReason: string | null;
  usage: Usage | null;
  /** Bytes of what was said, with the arguments of tool calls: all that there is to count where no usage comes. */
  producedBytes: number;
  hasContent: boolean;
  error: ErrorDetail | null;
};

const NOTHING: CompatibleSummary = {
  ...{ model: null, stopReason: null, usage: null, producedBytes: 0 },
  ...{ hasContent: false, error: null },
};
const MAX_LINE = 1_048_576;

/** Reads a plain answer of either shape. */
export function readCompatibleSummary(body: Buffer): CompatibleSummary {
  const found = findTopLevelValues(body, ["model", "usage", "choices", "completion", "stop_reason"]);
  const usage = parseChatUsage(parseValue(found.get("usage")));
  const [choice] = findElements(found.get("choices"), 1);
  const parts = choice && findTopLevelValues(choice, ["message", "finish_reason"]);
  const said = parts?.get("message");
  const message = said && findTopLevelValues(said, ["content", "tool_calls"]);
  const content = [message?.get("content"), message?.get("tool_calls"), found.get("completion")].filter(hasText);
  return {
    model: text(parseValue(found.get("model"), 4096)),
    stopReason: text(parseValue(parts?.get("finish_reason") ?? found.get("stop_reason"), 4096)),
    usage,
    producedBytes: content.reduce((sum, { length }) => sum + length - 2, 0),
    hasContent: content.length > 0,
    error: null,
  };
}

/** Reads along with a stream of either shape. */
export class CompatibleTap {
  /** The stream has said its last word: `[DONE]`, or a `stop_reason` of the old shape. */
  complete = false;
  readonly summary: CompatibleSummary = { ...NOTHING };
  readonly #lines = new LineSplitter({ maxBytes: MAX_LINE, onLine: (line) => this.#line(line) });

  /** Never throws, whatever the bytes are. */
  push(chunk: Buffer): void {
    this.#lines.push(chunk);
  }

  #line(line: Buffer): void {
    if (line.toString("latin1", 0, DATA.length) !== DATA) return;
    const data = line.toString("utf8", DATA.length).trim();
    if (data === "[DONE]") this.complete = true;
    else if (data !== "") this.#read(data);
  }

  #read(data: string): void {
    let value: Chunk;
    try {
      value = JSON.parse(data) ?? {};
    } catch {
      return;
    }
    const { summary } = this;
    if (value.error) summary.error = parseErrorDetail(value);
    summary.model = text(value.model) ?? summary.model;
    summary.usage = parseChatUsage(value.usage) ?? summary.usage;
    const choice = Array.isArray(value.choices) ? value.choices[0] : undefined;
    summary.stopReason = text(choice?.finish_reason) ?? text(value.stop_reason) ?? summary.stopReason;
    const delta = choice?.delta;
    if (delta?.content || delta?.tool_calls || value.completion) summary.hasContent = true;
    summary.producedBytes += bytesOf(delta?.content) + bytesOf(value.completion) + bytesOfTools(delta?.tool_calls);
    if (text(value.stop_reason) !== null) this.complete = true;
  }
}

type Chunk = {
  model?: unknown;
  usage?: unknown;
  error?: unknown;
  choices?: { finish_reason?: unknown; delta?: { content?: unknown; tool_calls?: unknown } }[];
  completion?: unknown;
  stop_reason?: unknown;
};

const DATA = "data:";

/** `prompt_tokens` includes what was read from a cache, should the details ever say so. Null where counts are missing. */
function parseChatUsage(value: unknown): Usage | null {
  if (typeof value !== "object" || value === null) return null;
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = value as Record<string, unknown>;
  const prompt = count(prompt_tokens);
  const outputTokens = count(completion_tokens);
  if (prompt === null || outputTokens === null) return null;
  const details = (prompt_tokens_details ?? {}) as Record<string, unknown>;
  const cacheReadTokens = Math.min(count(details.cached_tokens) ?? 0, prompt);
  return { ...NO_USAGE, inputTokens: prompt - cacheReadTokens, cacheReadTokens, outputTokens };
}

function bytesOf(value: unknown): number {
  return typeof value === "string" ? Buffer.byteLength(value) : 0;
}

function bytesOfTools(value: unknown): number {
  if (!Array.isArray(value)) return 0;
  return value.reduce((sum, made) => sum + bytesOf(made?.function?.name) + bytesOf(made?.function?.arguments), 0);
}

/** Whether a JSON value is more than null, "" or []. */
function hasText(value: Buffer | undefined): value is Buffer {
  return value !== undefined && value.length > 2 && value.toString("latin1", 0, 4) !== "null";
}

function count(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value.slice(0, 200) : null;
}
