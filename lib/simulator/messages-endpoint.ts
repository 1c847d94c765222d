import { poolOf } from "../anthropic/pools.ts";
import { parseBetas, parseVersion } from "./api-version.ts";
import type { Exchange } from "./exchange.ts";
import { MessageRendering } from "./message-rendering.ts";
import { type MessageRequest, parseMessageRequest } from "./message-request.ts";
import { countPromptTokens, promptBlocks } from "./prompt-tokens.ts";
import { exceeds } from "./rate-limit-refusal.ts";
import { readJson } from "./request-body.ts";
import { serveCall } from "./serve-call.ts";
import { parseWishes, type Wishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";

/** `POST /v1/messages`. Throws ApiError for everything that is refused before an answer begins. */
export async function createMessage(exchange: Exchange, state: SimulatorState): Promise<void> {
  const { request, wishes } = await readMessageRequest(exchange, "messages");
  await serveCall(exchange, state, request, wishes, {
    render: (plan, serviceTier, messageId) => new MessageRendering(request, plan, serviceTier, messageId),
  });
}

/** `POST /v1/messages/count_tokens`: free, with a limit of its own. */
export async function countTokens(exchange: Exchange, state: SimulatorState): Promise<void> {
  const { request, wishes } = await readMessageRequest(exchange, "count_tokens");
  exchange.billed = false;
  const refused = state.limits.admitRequest("count_tokens", exchange.clock.now());
  if (refused) throw exceeds(refused, { organizationId: state.organizationId, model: request.model.id });
  exchange.sendJson(200, { input_tokens: wishes.inputTokens ?? countPromptTokens(promptBlocks(request)) });
}

async function readMessageRequest(
  exchange: Exchange,
  endpoint: "messages" | "count_tokens",
): Promise<{ request: MessageRequest; wishes: Wishes }> {
  const version = parseVersion(exchange.header("anthropic-version"));
  const betas = parseBetas(exchange.header("anthropic-beta"));
  const wishes = parseWishes(exchange.request.headers);
  const request = parseMessageRequest(await readJson(exchange.request), { endpoint, version, betas });
  noteRequest(exchange, request);
  return { request, wishes };
}

/** What the ledger says of a request whatever becomes of it. */
export function noteRequest(exchange: Exchange, request: MessageRequest): void {
  exchange.model = request.model.id;
  exchange.pool = poolOf(request.model.id).id;
  exchange.lane = request.lane;
  exchange.streamed = request.stream;
}
