import type { MessageRequest } from "./message-request.ts";
import type { PromptUsage } from "./prompt-cache.ts";
import type { Tally } from "./turns.ts";

export type ServiceTier = "standard" | "priority" | "batch";

/** What `usage` is written from. */
export type UsageSource = { tally: Tally; thinkingTokens: number; listsIterations: boolean };

/** The whole `usage` object of a message. */
export function usageBody(usage: UsageSource, request: MessageRequest, serviceTier: ServiceTier): object {
  return {
    ...cumulative(usage),
    cache_creation: cacheCreation(usage.tally),
    service_tier: serviceTier,
    // Older models are not told apart by region.
    inference_geo: request.model.prefill ? "not_available" : request.inferenceGeo,
    speed: request.speed,
  };
}

/** The part of it that `message_delta` repeats, as totals so far. */
export function cumulative({ tally, thinkingTokens, listsIterations }: UsageSource): object {
  const { webSearches } = tally;
  return {
    ...tokens(tally),
    output_tokens_details: { thinking_tokens: Math.min(tally.outputTokens, thinkingTokens) },
    server_tool_use: webSearches > 0 ? { web_search_requests: webSearches, web_fetch_requests: 0 } : null,
    ...(listsIterations ? { iterations: tally.turns.map(iteration) } : {}),
  };
}

function iteration(turn: Tally["turns"][number]): object {
  return {
    type: turn.type,
    // A compaction is always the requested model's, and does not say so.
    ...(turn.type === "compaction" ? {} : { model: turn.model }),
    ...tokens(turn),
    cache_creation: cacheCreation(turn),
  };
}

function tokens(usage: PromptUsage & { outputTokens: number }): object {
  return {
    input_tokens: usage.inputTokens,
    cache_creation_input_tokens: usage.cacheWrite5m + usage.cacheWrite1h,
    cache_read_input_tokens: usage.cacheRead,
    output_tokens: usage.outputTokens,
  };
}

function cacheCreation(usage: PromptUsage): object {
  return { ephemeral_5m_input_tokens: usage.cacheWrite5m, ephemeral_1h_input_tokens: usage.cacheWrite1h };
}
