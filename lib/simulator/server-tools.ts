import type { AnswerBlock } from "./answer.ts";
import type { JsonObject } from "./field.ts";
import { wireId } from "./seeded.ts";

/** Tokens that a call of a server tool takes of the answer. */
const TOKENS_PER_CALL = 25;
/** Tokens of the page texts that one search adds to the prompt of the next sampling. */
export const TOKENS_PER_SEARCH = 1_200;

/** Where a result comes in, and whether it was one: what was refused is not billed as a search. */
export type ServerToolStep = { fromOutput: number; searched: boolean };

export function findServerTool(tools: readonly JsonObject[], prefix: "web_search_" | "advisor_"): JsonObject | null {
  return tools.find((tool) => typeof tool.type === "string" && tool.type.startsWith(prefix)) ?? null;
}

/**
 * Puts searches before the last block of an answer, which pays for them, so that its length stays what it was. Fewer
 * than wanted when that block is too short. `admit` says whether the search tool has room for one more.
 */
export function insertSearches(
  blocks: readonly AnswerBlock[],
  wanted: number,
  admit: () => boolean,
  random: () => number,
): { blocks: AnswerBlock[]; steps: ServerToolStep[] } {
  const text = blocks.at(-1);
  if (text?.type !== "text") return { blocks: [...blocks], steps: [] };
  const count = Math.min(wanted, text.tokens - 1);
  const tokens = Math.min(TOKENS_PER_CALL, Math.floor(text.tokens / (count + 1)));
  const made: AnswerBlock[] = blocks.slice(0, -1);
  const steps: ServerToolStep[] = [];
  let before = made.reduce((sum, block) => sum + block.tokens, 0);
  for (let index = 0; index < count; index += 1) {
    const id = wireId("srvtoolu", random);
    const searched = admit();
    const query = JSON.stringify({ query: `capacity ${index + 1}` });
    made.push({ type: "server_tool_use", id, name: "web_search", tokens, text: query });
    made.push(resultBlock({ type: "web_search_tool_result", tool_use_id: id, content: searchResult(searched, index) }));
    before += tokens;
    steps.push({ fromOutput: before, searched });
  }
  const left = text.tokens - count * tokens;
  made.push({ ...text, tokens: left, text: text.text.slice(0, Math.ceil((text.text.length * left) / text.tokens)) });
  return { blocks: made, steps };
}

/** The call of an advisor and what it said, or that it had no time. Both cost the answer nothing. */
export function advisorBlocks(advised: boolean, random: () => number): AnswerBlock[] {
  const id = wireId("srvtoolu", random);
  const content = advised
    ? { type: "advisor_result", text: "Measure first, then change one thing.", stop_reason: "end_turn" }
    : { type: "advisor_tool_result_error", error_code: "too_many_requests" };
  return [
    { type: "server_tool_use", id, name: "advisor", tokens: 0, text: "{}" },
    resultBlock({ type: "advisor_tool_result", tool_use_id: id, content }),
  ];
}

function searchResult(searched: boolean, index: number): object {
  if (!searched) return { type: "web_search_tool_result_error", error_code: "too_many_requests" };
  return [
    {
      type: "web_search_result",
      url: `https://example.com/capacity/${index + 1}`,
      title: `Capacity, part ${index + 1}`,
      encrypted_content: Buffer.from(`page ${index + 1}`).toString("base64"),
      page_age: null,
    },
  ];
}

function resultBlock(content: object): AnswerBlock {
  return { type: "fixed", tokens: 0, text: "", content };
}
