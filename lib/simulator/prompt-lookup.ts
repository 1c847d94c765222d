import { invalidRequest } from "./api-error.ts";
import type { MessageRequest } from "./message-request.ts";
import type { CacheLookup, PromptCache } from "./prompt-cache.ts";
import { countPromptTokens, promptBlocks, scaleToTokens } from "./prompt-tokens.ts";
import type { Wishes } from "./simulator-headers.ts";

/** A prompt's tokens, and what of them the cache holds. Throws ApiError when it is longer than the context window. */
export function lookUpPrompt(
  request: MessageRequest,
  wishes: Pick<Wishes, "inputTokens" | "cacheReadTokens" | "cacheWriteTokens">,
  cache: PromptCache,
  nowMs: number,
): CacheLookup {
  const own = promptBlocks(request);
  const blocks = wishes.inputTokens === null ? own : scaleToTokens(own, wishes.inputTokens);
  const total = countPromptTokens(blocks);
  if (total > request.model.contextTokens) {
    throw invalidRequest(`prompt is too long: ${total} tokens > ${request.model.contextTokens} maximum`);
  }
  if (wishes.cacheReadTokens === null && wishes.cacheWriteTokens === null) {
    return cache.lookUp(blocks, `${request.model.id} ${request.speed}`, request.model.minCacheTokens, nowMs);
  }
  const cacheRead = wishes.cacheReadTokens ?? 0;
  const cacheWrite5m = wishes.cacheWriteTokens ?? 0;
  const inputTokens = Math.max(0, total - cacheRead - cacheWrite5m);
  return { inputTokens, cacheWrite5m, cacheWrite1h: 0, cacheRead, commit: () => {} };
}

/** The API guesses a prompt's length before it knows it; a guess never grows a prompt past the whole bucket. */
export function estimateOf(counted: number, limit: number, error: number, draw: number): number {
  if (error === 0) return counted;
  const guess = Math.round(counted * (1 + error * (2 * draw - 1)));
  return counted <= limit ? Math.min(guess, limit) : guess;
}
