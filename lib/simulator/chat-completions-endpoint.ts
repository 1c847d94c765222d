import { ChatRendering } from "./chat-rendering.ts";
import { parseChatRequest } from "./chat-request.ts";
import type { Exchange } from "./exchange.ts";
import { parseMessageRequest } from "./message-request.ts";
import { noteRequest } from "./messages-endpoint.ts";
import { readJson } from "./request-body.ts";
import { serveCall } from "./serve-call.ts";
import { parseWishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";

/** `POST /v1/chat/completions`: OpenAI's shape, the same models, pools and books. No version is asked for. */
export async function createChatCompletion(exchange: Exchange, state: SimulatorState): Promise<void> {
  const wishes = parseWishes(exchange.request.headers);
  const { body, includeUsage } = parseChatRequest(await readJson(exchange.request));
  // Sampling parameters are known to this shape, as they are to the older version.
  const request = parseMessageRequest(body, { endpoint: "messages", version: "2023-06-01", betas: [] });
  noteRequest(exchange, request);
  await serveCall(exchange, state, request, wishes, {
    render: (plan, _serviceTier, id) => new ChatRendering(plan, { id, createdMs: exchange.arrivedMs, includeUsage }),
    headers: chatHeaders,
  });
}

/** `anthropic-ratelimit-requests-limit` is `x-ratelimit-limit-requests` here; only requests and all tokens are told. */
function chatHeaders(rateLimit: Record<string, string>): Record<string, string> {
  const headers: Record<string, string> = { "openai-version": "2020-10-01" };
  for (const limiter of ["requests", "tokens"]) {
    for (const what of ["limit", "remaining", "reset"]) {
      const value = rateLimit[`anthropic-ratelimit-${limiter}-${what}`];
      if (value !== undefined) headers[`x-ratelimit-${what}-${limiter}`] = value;
    }
  }
  return headers;
}
