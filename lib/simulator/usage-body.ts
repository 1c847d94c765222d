import type { MessageRequest } from "./message-request.ts";
import type { PromptUsage } from "./prompt-cache.ts";

/** What `usage` is written from. */
export type CallUsage = PromptUsage & { outputTokens: number; thinkingTokens: number };

/** The whole `usage` object of a message. */
export function usageBody(usage: CallUsage, request: MessageRequest, serviceTier: "standard" | "priority"): object {
  return {
    ...cumulative(usage, request),
    cache_creation: cacheCreation(usage),
    service_tier: serviceTier,
    // Older models are not told apart by region.
    inference_geo: request.model.prefill ? "not_available" : request.inferenceGeo,
    speed: request.speed,
  };
}

/** The part of it that `message_delta` repeats, as totals so far. */
export function cumulative(usage: CallUsage, request: MessageRequest): object {
  const iterations = request.iterations ? { iterations: [iteration(usage, request)] } : {};
  return {
    input_tokens: usage.inputTokens,
    cache_creation_input_tokens: usage.cacheWrite5m + usage.cacheWrite1h,
    cache_read_input_tokens: usage.cacheRead,
    output_tokens: usage.outputTokens,
    output_tokens_details: { thinking_tokens: usage.thinkingTokens },
    server_tool_use: null,
    ...iterations,
  };
}

function iteration(usage: CallUsage, request: MessageRequest): object {
  return {
    type: "message",
    model: request.model.id,
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
    cache_creation_input_tokens: usage.cacheWrite5m + usage.cacheWrite1h,
    cache_read_input_tokens: usage.cacheRead,
    cache_creation: cacheCreation(usage),
  };
}

function cacheCreation(usage: CallUsage): object {
  return { ephemeral_5m_input_tokens: usage.cacheWrite5m, ephemeral_1h_input_tokens: usage.cacheWrite1h };
}
