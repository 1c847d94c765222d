import { createHash } from "node:crypto";
import { invalidRequest } from "./api-error.ts";
import { isObject, type JsonObject } from "./field.ts";
import { sampleOf } from "./json-sample.ts";
import type { MessageRequest } from "./message-request.ts";
import { logNormal, seeded, wireId } from "./seeded.ts";
import type { StopReason, Wishes } from "./simulator-headers.ts";

/** One content block to be made; `text` is spread evenly over its tokens. */
export type AnswerBlock = { tokens: number; text: string } & (
  | { type: "text" }
  | { type: "thinking"; signature: string; omitted: boolean }
  | { type: "tool_use" | "server_tool_use"; id: string; name: string }
  /** Made by another sampling, so it costs this one nothing. */
  | { type: "compaction" }
  /** A block that comes whole: the result of a server tool, or the mark of a fallback. */
  | { type: "fixed"; content: object }
);

/** All that the model would say, known beforehand. */
export type Answer = {
  blocks: AnswerBlock[];
  outputTokens: number;
  thinkingTokens: number;
  stopReason: StopReason;
  stopSequence: string | null;
};

const MEDIAN_TOKENS = 220;
const SIGMA = 0.9;
const LONGEST_DRAW = 8_000;
const CHARACTERS_PER_TOKEN = 4;
const THINKING_SHARE = 0.3;

/**
 * What the simulator answers: the same for the same request under the same seed. Lengths are log-normal (median 220
 * tokens), bounded by `max_tokens`; tools are called when the caller forces it, wishes it, or asks for it in the prompt:
 * `use the tool NAME`, or `use the tool NAME with {"its": "input"}`.
 */
export function planAnswer(request: MessageRequest, wishes: Wishes, hash: number): Answer {
  const random = seeded(hash);
  const drawn = Math.round(Math.min(LONGEST_DRAW, Math.max(1, logNormal(random, MEDIAN_TOKENS, SIGMA))));
  const wanted = wishes.outputTokens ?? drawn;
  if (wishes.stopReason === "refusal") return emptyAnswer("refusal");
  if (request.maxTokens === 0) return emptyAnswer("max_tokens");
  const allowed = Math.min(wanted, request.maxTokens);
  const tool = chooseTool(request, wishes);
  if (tool) return toolAnswer(tool, allowed, request, wishes, random);
  if (request.outputSchema) return structuredAnswer(request.outputSchema, allowed, request, wishes);
  const blocks: AnswerBlock[] = [];
  let left = allowed;
  if (request.thinking && allowed >= 10) {
    const tokens = Math.floor(allowed * THINKING_SHARE);
    blocks.push(thinkingBlock(tokens, request.thinkingOmitted, random));
    left -= tokens;
  }
  if (left > 0) blocks.push({ type: "text", tokens: left, text: prose(left, random) });
  const natural = wanted > request.maxTokens ? "max_tokens" : "end_turn";
  return finish(blocks, wishes.stopReason ?? natural, request);
}

/**
 * A number for a request under a seed. Streamed or not makes no difference, and only the last turn is read whole: the
 * conversation before it can be long, and its length tells it apart well enough.
 */
export function hashRequest(request: MessageRequest, seed: number): number {
  const { model, maxTokens, messages, system, tools } = request;
  const about = [seed, model.id, maxTokens, messages.length, system.length, tools.length, messages.at(-1)];
  return createHash("sha1").update(JSON.stringify(about)).digest().readUInt32BE(0);
}

function finish(blocks: AnswerBlock[], stopReason: StopReason, request: MessageRequest): Answer {
  const count = (of: readonly AnswerBlock[]) => of.reduce((sum, block) => sum + block.tokens, 0);
  return {
    blocks,
    outputTokens: count(blocks),
    thinkingTokens: count(blocks.filter((block) => block.type === "thinking")),
    stopReason,
    stopSequence: stopReason === "stop_sequence" ? (request.stopSequences[0] ?? "\n\nHuman:") : null,
  };
}

function emptyAnswer(stopReason: StopReason): Answer {
  return { blocks: [], outputTokens: 0, thinkingTokens: 0, stopReason, stopSequence: null };
}

function thinkingBlock(tokens: number, omitted: boolean, random: () => number): AnswerBlock {
  const signature = Buffer.from(wireId("thinking", random)).toString("base64");
  return { type: "thinking", tokens, omitted, signature, text: omitted ? "" : prose(tokens, random) };
}

type ToolCall = { name: string; input: unknown };

function toolAnswer(
  tool: ToolCall,
  allowed: number,
  request: MessageRequest,
  wishes: Wishes,
  random: () => number,
): Answer {
  const text = JSON.stringify(tool.input);
  const tokens = wishes.outputTokens ?? 20 + Math.ceil(text.length / CHARACTERS_PER_TOKEN);
  const id = wireId("toolu", random);
  const block: AnswerBlock = {
    type: "tool_use",
    id,
    name: tool.name,
    tokens: Math.min(tokens, request.maxTokens),
    text,
  };
  const thinks = request.thinking && request.toolChoice.type === "auto" && allowed - block.tokens >= 10;
  const thinking = thinks ? [thinkingBlock(10, request.thinkingOmitted, random)] : [];
  return finish([...thinking, block], wishes.stopReason ?? "tool_use", request);
}

function structuredAnswer(schema: JsonObject, allowed: number, request: MessageRequest, wishes: Wishes): Answer {
  const text = JSON.stringify(sampleOf(schema));
  const tokens = wishes.outputTokens === null ? Math.ceil(text.length / CHARACTERS_PER_TOKEN) : allowed;
  const block: AnswerBlock = { type: "text", text, tokens: Math.min(Math.max(1, tokens), request.maxTokens) };
  return finish([block], wishes.stopReason ?? "end_turn", request);
}

function chooseTool(request: MessageRequest, wishes: Wishes): ToolCall | null {
  const { toolChoice, tools } = request;
  if (wishes.tool !== null) return callOf(wishes.tool, request) ?? unknownTool(wishes.tool);
  if (tools.length === 0 || toolChoice.type === "none") return null;
  if (toolChoice.type === "tool") return callOf(toolChoice.name, request);
  const asked = askedFor(request);
  if (asked) {
    const call = callOf(asked.name, request);
    if (call) return { ...call, input: asked.input ?? call.input };
  }
  const first = tools.find((tool) => typeof tool.name === "string" && isObject(tool.input_schema));
  return toolChoice.type === "any" && first ? callOf(String(first.name), request) : null;
}

function callOf(name: string, request: MessageRequest): ToolCall | null {
  // Server tools are used on the way, not answered with.
  const tool = request.tools.find((entry) => entry.name === name && !isServerTool(entry));
  return tool ? { name, input: sampleOf(tool.input_schema ?? { type: "object" }) } : null;
}

function isServerTool(tool: JsonObject): boolean {
  return typeof tool.type === "string" && /^(web_search|web_fetch|code_execution|advisor|tool_search)_/.test(tool.type);
}

function unknownTool(name: string): never {
  throw invalidRequest(`x-simulator-tool: the request gives no tool named "${name}"`);
}

/** What the last user turn asks for. A turn that brings tool results is answered with text. */
export function askedFor(request: MessageRequest): { name: string; input: unknown } | null {
  const turn = request.messages.findLast((message) => message.role === "user");
  if (!turn) return null;
  if (typeof turn.content !== "string" && turn.content.some((block) => block.type === "tool_result")) return null;
  const text =
    typeof turn.content === "string"
      ? turn.content
      : turn.content.map((block) => (typeof block.text === "string" ? block.text : "")).join("\n");
  const match = [...text.matchAll(/use the tool ([a-zA-Z0-9_-]+)(?: with (\{.*\}))?/gi)].at(-1);
  if (!match?.[1]) return null;
  return { name: match[1], input: parseInput(match[2]) };
}

function parseInput(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    const input: unknown = JSON.parse(text);
    return input;
  } catch {
    return undefined;
  }
}

const SENTENCES = [
  "Every call left as soon as there was room for it.",
  "The bucket filled again before the next burst came in.",
  "Tokens were counted where they were spent, and nowhere twice.",
  "Nobody had to wait for long, and the urgent ones not at all.",
  "A limit that is known early is a limit that nobody hits.",
  "What was cached was read, and cost a tenth of what it would have.",
  "The answer is short, for the question was.",
  "Two of the tests failed; the second one failed because of the first.",
  "I would begin with the smallest of the three files.",
  "Here is the plan: measure, change one thing, measure again.",
];
const PROSE_CHARACTERS = 16_384;
let proseStock = "";

/** Plain sentences, four characters a token, beginning somewhere else each time. */
function prose(tokens: number, random: () => number): string {
  if (proseStock === "") {
    const pick = seeded(1);
    while (proseStock.length < PROSE_CHARACTERS) proseStock += `${SENTENCES[Math.floor(pick() * SENTENCES.length)]} `;
  }
  const start = proseStock.indexOf(". ", Math.floor(random() * (PROSE_CHARACTERS - 200))) + 2;
  const length = tokens * CHARACTERS_PER_TOKEN;
  const copies = Math.ceil((start + length) / proseStock.length);
  return (copies === 1 ? proseStock : proseStock.repeat(copies)).slice(start, start + length);
}
