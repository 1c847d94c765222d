import { isObject, type JsonObject } from "./field.ts";
import type { MessageRequest } from "./message-request.ts";

/** The fixed ratio by which text is turned into tokens. The real tokenizer is not published. */
const BYTES_PER_TOKEN = 3.5;
const TOKENS_PER_MESSAGE = 4;
const TOKENS_PER_IMAGE = 1_600;
const TOKENS_PER_DOCUMENT = 3_000;
/** The system prompt that the API adds when tools are given. */
const TOKENS_FOR_TOOL_USE = 346;

/** Keys of a block that are no part of what the model reads. */
const SILENT = new Set(["type", "cache_control", "signature"]);

/** One cacheable piece of a prompt, in the order in which the API reads them: tools, system, messages. */
export type PromptBlock = {
  tokens: number;
  cacheControl: JsonObject | null;
  /** What a cached prefix is recognised by. Made when asked for: prompts without breakpoints never need it. */
  identity(): string;
};

export function promptBlocks(request: MessageRequest): PromptBlock[] {
  const blocks = request.tools.map((tool, index) =>
    block(
      tool,
      index === 0 ? TOKENS_FOR_TOOL_USE : 0,
      Math.ceil(JSON.stringify(tool).length / BYTES_PER_TOKEN),
      "tool",
    ),
  );
  for (const [index, entry] of request.system.entries()) {
    // Claude Code's billing line is taken off before the model sees the prompt, when it stands first.
    const text = entry.text;
    if (index === 0 && typeof text === "string" && text.startsWith("x-anthropic-billing-header:")) continue;
    blocks.push(block(entry, 0, tokensOf(entry), "system"));
  }
  for (const message of request.messages) {
    const content: JsonObject[] =
      typeof message.content === "string" ? [{ type: "text", text: message.content }] : message.content;
    for (const [index, entry] of content.entries()) {
      blocks.push(block(entry, index === 0 ? TOKENS_PER_MESSAGE : 0, tokensOf(entry), message.role));
    }
  }
  const last = blocks.at(-1);
  if (last && request.cacheControl && !last.cacheControl) last.cacheControl = request.cacheControl;
  return blocks;
}

/** Tokens of the whole prompt. */
export function countPromptTokens(blocks: readonly PromptBlock[]): number {
  return blocks.reduce((sum, entry) => sum + entry.tokens, 0);
}

/** The same blocks stretched or shrunk to a prompt of `total` tokens, for callers that state how long theirs is. */
export function scaleToTokens(blocks: readonly PromptBlock[], total: number): PromptBlock[] {
  const sum = countPromptTokens(blocks) || 1;
  let before = 0;
  return blocks.map((entry) => {
    const start = Math.round((before / sum) * total);
    before += entry.tokens;
    return { ...entry, tokens: Math.round((before / sum) * total) - start };
  });
}

function block(value: JsonObject, overhead: number, tokens: number, place: string): PromptBlock {
  const control = value.cache_control;
  return {
    tokens: overhead + tokens,
    cacheControl: isObject(control) ? control : null,
    identity: () => place + JSON.stringify(value, (key, inner) => (key === "cache_control" ? undefined : inner)),
  };
}

function tokensOf(value: JsonObject): number {
  return Math.ceil(textBytes(value) / BYTES_PER_TOKEN);
}

/** Bytes of text in a block, however deep. Pictures and files count by the piece, not by their base64. */
function textBytes(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value).length;
  if (Array.isArray(value)) return value.reduce((sum: number, entry) => sum + textBytes(entry), 0);
  if (!isObject(value)) return 0;
  if (value.type === "image") return TOKENS_PER_IMAGE * BYTES_PER_TOKEN;
  if (value.type === "document" && !isPlainText(value.source)) return TOKENS_PER_DOCUMENT * BYTES_PER_TOKEN;
  let bytes = 0;
  for (const key in value) if (!SILENT.has(key)) bytes += textBytes(value[key]);
  return bytes;
}

function isPlainText(source: unknown): boolean {
  return isObject(source) && (source.type === "text" || source.type === "content");
}
