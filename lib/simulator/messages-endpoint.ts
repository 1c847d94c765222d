import { getPool, poolOf } from "../anthropic/pools.ts";
import { type Answer, hashRequest, planAnswer } from "./answer.ts";
import { negotiate, openSink } from "./answer-sink.ts";
import { ApiError, invalidRequest, overloaded } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { drawFault, type Fault, refusalOf } from "./faults.ts";
import { MessageEvents, PING, sseEvent, wholeBlock } from "./message-events.ts";
import { type MessageRequest, parseBetas, parseMessageRequest, parseVersion } from "./message-request.ts";
import type { Admission, Charge } from "./organization-limits.ts";
import { Pace } from "./pace.ts";
import type { MeterLimiter } from "./pool-meter.ts";
import type { CacheLookup, PromptUsage } from "./prompt-cache.ts";
import { countPromptTokens, promptBlocks, scaleToTokens } from "./prompt-tokens.ts";
import { parseJson, readBody } from "./request-body.ts";
import { seeded, wireId } from "./seeded.ts";
import { parseWishes, type Wishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";
import { cumulative, usageBody } from "./usage-body.ts";

/** A stream sends what it has made this often, in real time. */
const TICK_MS = 40;

/** `POST /v1/messages`. Throws ApiError for everything that is refused before an answer begins. */
export async function createMessage(exchange: Exchange, state: SimulatorState): Promise<void> {
  const { request, wishes } = await readMessageRequest(exchange, "messages");
  const draws = seeded(state.nextDraw());
  const fault = wishes.fault ?? drawFault(state.faults, draws());
  exchange.fault = fault;
  if (fault === "reset") return exchange.hangUp();
  const refusal = fault && refusalOf(fault, request.stream, draws());
  if (refusal) throw refusal;

  const prompt = lookUpPrompt(request, wishes, state, exchange.arrivedMs);
  const pool = getPool(exchange.pool ?? "");
  const counted =
    prompt.inputTokens + prompt.cacheWrite5m + prompt.cacheWrite1h + (pool.cacheReadsCount ? prompt.cacheRead : 0);
  const limit = state.limits.limitsOf(request.lane === "fast" ? `${pool.id}/fast` : pool.id).input_tokens;
  const estimate = estimateOf(counted, limit, state.inputEstimateError, draws());
  const nowMs = exchange.clock.now();
  const admission = state.limits.admit({ pool: pool.id, lane: request.lane, inputTokens: estimate }, nowMs);
  exchange.lane = admission.lane;
  if (!admission.admitted) {
    exchange.sendError(rateLimited(admission, state.organizationId, request), admission.headers);
    return;
  }
  const answer =
    fault === "refusal"
      ? planAnswer(request, { ...wishes, stopReason: "refusal" }, 0)
      : planAnswer(request, wishes, hashRequest(request, state.seed));
  if (answer.stopReason === "refusal" && answer.outputTokens === 0) exchange.billed = false;
  await deliver({
    exchange,
    state,
    request,
    wishes,
    answer,
    prompt,
    fault,
    charge: admission.charge,
    headers: admission.headers,
    serviceTier: admission.lane === "priority" ? "priority" : "standard",
    inputCorrection: counted - estimate,
    messageId: wireId("msg", draws),
  });
}

/** `POST /v1/messages/count_tokens`: free, with a limit of its own. */
export async function countTokens(exchange: Exchange, state: SimulatorState): Promise<void> {
  const { request, wishes } = await readMessageRequest(exchange, "count_tokens");
  exchange.billed = false;
  const refused = state.limits.admitCount(exchange.clock.now());
  if (refused) {
    throw new ApiError(429, "rate_limit_error", exceeds("requests", refused.limit, state.organizationId, request), {
      headers: { "retry-after": String(refused.retryAfterSeconds) },
    });
  }
  exchange.sendJson(200, { input_tokens: wishes.inputTokens ?? countPromptTokens(promptBlocks(request)) });
}

async function readMessageRequest(
  exchange: Exchange,
  endpoint: "messages" | "count_tokens",
): Promise<{ request: MessageRequest; wishes: Wishes }> {
  const { headers } = exchange.request;
  const version = parseVersion(first(headers["anthropic-version"]));
  const betas = parseBetas(first(headers["anthropic-beta"]));
  const contentType = headers["content-type"] ?? "";
  if (!/^application\/(.+\+)?json\b/i.test(contentType)) {
    throw invalidRequest(`Content-Type must be application/json, but is "${contentType}"`);
  }
  const wishes = parseWishes(headers);
  const json = parseJson(await readBody(exchange.request));
  const request = parseMessageRequest(json, { endpoint, version, betas });
  exchange.model = request.model.id;
  exchange.pool = poolOf(request.model.id).id;
  exchange.lane = request.lane;
  exchange.streamed = request.stream;
  return { request, wishes };
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(",") : value;
}

function lookUpPrompt(request: MessageRequest, wishes: Wishes, state: SimulatorState, nowMs: number): CacheLookup {
  const own = promptBlocks(request);
  const blocks = wishes.inputTokens === null ? own : scaleToTokens(own, wishes.inputTokens);
  const total = countPromptTokens(blocks);
  if (total > request.model.contextTokens) {
    throw invalidRequest(`prompt is too long: ${total} tokens > ${request.model.contextTokens} maximum`);
  }
  if (wishes.cacheReadTokens === null && wishes.cacheWriteTokens === null) {
    const scope = `${request.model.id} ${request.speed}`;
    return state.cache.lookUp(blocks, scope, request.model.minCacheTokens, nowMs);
  }
  const cacheRead = wishes.cacheReadTokens ?? 0;
  const cacheWrite5m = wishes.cacheWriteTokens ?? 0;
  const inputTokens = Math.max(0, total - cacheRead - cacheWrite5m);
  return { inputTokens, cacheWrite5m, cacheWrite1h: 0, cacheRead, commit: () => {} };
}

/** The API guesses a prompt's length before it knows it; a guess never grows a prompt past the whole bucket. */
function estimateOf(counted: number, limit: number, error: number, draw: number): number {
  if (error === 0) return counted;
  const guess = Math.round(counted * (1 + error * (2 * draw - 1)));
  return counted <= limit ? Math.min(guess, limit) : guess;
}

const LIMITER_WORDS: Record<MeterLimiter, string> = {
  requests: "requests",
  input_tokens: "input tokens",
  output_tokens: "output tokens",
};

function exceeds(limiter: MeterLimiter, limit: number, organizationId: string, request: MessageRequest): string {
  return `This request would exceed your organization's rate limit of ${limit.toLocaleString("en-US")} ${LIMITER_WORDS[limiter]} per minute (org: ${organizationId}, model: ${request.model.id}). For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later. You may also contact sales at https://claude.com/contact-sales to discuss your options for a rate limit increase.`;
}

function rateLimited(
  refused: Extract<Admission, { admitted: false }>,
  organizationId: string,
  request: MessageRequest,
): ApiError {
  return new ApiError(429, "rate_limit_error", exceeds(refused.limiter, refused.limit, organizationId, request), {
    headers: { "retry-after": String(refused.retryAfterSeconds) },
  });
}

type Delivery = {
  exchange: Exchange;
  state: SimulatorState;
  request: MessageRequest;
  wishes: Wishes;
  answer: Answer;
  prompt: CacheLookup;
  fault: Fault | null;
  charge: Charge;
  /** Taken at admission, sent when the answer begins. */
  headers: Record<string, string>;
  serviceTier: "standard" | "priority";
  inputCorrection: number;
  messageId: string;
};

const BROKEN_OFF: readonly (Fault | null)[] = ["stall", "cut", "error-event"];

/** Waits for the first token, then makes the answer at its pace, and books what came of it. */
async function deliver(delivery: Delivery): Promise<void> {
  const { exchange, state, wishes, answer, prompt, fault, charge } = delivery;
  const slowMs = fault === "slow-headers" ? state.slowHeadersMs : 0;
  const startMs = exchange.arrivedMs + (wishes.firstTokenMs ?? state.firstTokenMs) + slowMs;
  if (startMs > exchange.clock.now()) await exchange.sleepUntil(startMs);
  if (exchange.gone) return;

  const beganMs = exchange.clock.now();
  prompt.commit(beganMs);
  if (delivery.inputCorrection !== 0) charge.correctInput(delivery.inputCorrection, beganMs);
  const streamBreaks = delivery.request.stream && BROKEN_OFF.includes(fault);
  const total = streamBreaks ? Math.floor(answer.outputTokens / 2) : answer.outputTokens;
  const pace = new Pace(total, wishes.tokensPerSecond ?? state.tokensPerSecond, startMs);
  charge.begin(pace, beganMs);
  try {
    await (delivery.request.stream ? stream(delivery, pace) : plain(delivery, pace));
  } finally {
    const endedMs = exchange.clock.now();
    pace.stop(endedMs);
    charge.end(pace, endedMs);
    exchange.stopReason = exchange.gone || BROKEN_OFF.includes(fault) ? null : answer.stopReason;
    exchange.usage = {
      inputTokens: prompt.inputTokens,
      cacheWrite5m: prompt.cacheWrite5m,
      cacheWrite1h: prompt.cacheWrite1h,
      cacheRead: prompt.cacheRead,
      output: pace.producedAt(endedMs),
    };
  }
}

async function plain(delivery: Delivery, pace: Pace): Promise<void> {
  const { exchange, answer, fault } = delivery;
  if (fault === "stall") return exchange.sleepUntil(Number.POSITIVE_INFINITY);
  await exchange.sleepUntil(pace.endMs);
  if (exchange.gone) return;
  const body = JSON.stringify({
    ...messageBody(delivery, answer.outputTokens),
    content: answer.blocks.map(wholeBlock),
    ...stopOf(answer),
  });
  const encoding = encodingOf(delivery);
  const headers = { ...delivery.headers, "content-type": "application/json" };
  if (encoding !== null) {
    exchange.writeHead(200, { ...headers, "content-encoding": encoding, vary: "Accept-Encoding" });
    openSink(exchange, encoding).end(body);
    return;
  }
  exchange.writeHead(200, { ...headers, "content-length": String(Buffer.byteLength(body)) });
  if (fault === "cut") {
    exchange.response.write(body.slice(0, body.length / 2), () => exchange.hangUp());
    return;
  }
  exchange.response.end(body);
}

async function stream(delivery: Delivery, pace: Pace): Promise<void> {
  const { exchange, state, answer, fault } = delivery;
  const encoding = encodingOf(delivery);
  exchange.writeHead(200, {
    ...delivery.headers,
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    ...(encoding === null ? {} : { "content-encoding": encoding, vary: "Accept-Encoding" }),
  });
  const sink = openSink(exchange, encoding);
  const events = new MessageEvents(answer);
  let waiting = sseEvent("message_start", {
    message: { ...messageBody(delivery, Math.min(1, answer.outputTokens)), content: [], ...NOT_STOPPED },
  });
  const tickMs = TICK_MS * state.timeScale;
  for (;;) {
    const nowMs = exchange.clock.now();
    waiting += events.advance(pace.producedAt(nowMs));
    if (nowMs >= pace.endMs) break;
    sink.write(waiting);
    waiting = "";
    await exchange.sleepUntil(Math.min(nowMs + tickMs, pace.endMs));
    if (exchange.gone) return;
  }
  if (fault === "stall") return stall(delivery, (text) => sink.write(text), waiting);
  if (fault === "cut") {
    sink.write(waiting);
    exchange.response.write("", () => exchange.hangUp());
    return;
  }
  if (fault === "error-event") {
    const error = overloaded();
    exchange.noteError(error);
    sink.end(waiting + sseEvent("error", { error: { type: error.type, message: error.message } }));
    return;
  }
  const { stop_reason, stop_sequence, stop_details } = stopOf(answer);
  sink.end(
    waiting +
      sseEvent("message_delta", {
        delta: { stop_reason, stop_sequence, stop_details, container: null },
        usage: cumulative(callUsage(delivery, answer.outputTokens), delivery.request),
        ...contextOf(delivery.request),
      }) +
      sseEvent("message_stop", {}),
  );
}

/** Nothing but pings until the client has had enough. */
async function stall(delivery: Delivery, write: (text: string) => void, waiting: string): Promise<void> {
  const { exchange, state } = delivery;
  write(waiting);
  while (!exchange.gone) {
    await exchange.sleepUntil(exchange.clock.now() + state.pingMs);
    write(PING);
  }
}

function encodingOf(delivery: Delivery): ReturnType<typeof negotiate> {
  const { exchange, state, wishes } = delivery;
  return negotiate(wishes.encoding ?? state.encoding, first(exchange.request.headers["accept-encoding"]));
}

const NOT_STOPPED = { stop_reason: null, stop_sequence: null, stop_details: null };

function messageBody(delivery: Delivery, outputTokens: number): object {
  const { request } = delivery;
  return {
    model: request.model.id,
    id: delivery.messageId,
    type: "message",
    role: "assistant",
    container: null,
    diagnostics: null,
    ...contextOf(request),
    usage: usageBody(callUsage(delivery, outputTokens), request, delivery.serviceTier),
  };
}

function contextOf(request: MessageRequest): object {
  return request.contextEdits ? { context_management: { applied_edits: [] } } : {};
}

function callUsage(
  delivery: Delivery,
  outputTokens: number,
): PromptUsage & { outputTokens: number; thinkingTokens: number } {
  const { inputTokens, cacheWrite5m, cacheWrite1h, cacheRead } = delivery.prompt;
  const thinkingTokens = Math.min(outputTokens, delivery.answer.thinkingTokens);
  return { inputTokens, cacheWrite5m, cacheWrite1h, cacheRead, outputTokens, thinkingTokens };
}

function stopOf(answer: Answer): { stop_reason: string; stop_sequence: string | null; stop_details: object | null } {
  const refused = answer.stopReason === "refusal";
  return {
    stop_reason: answer.stopReason,
    stop_sequence: answer.stopSequence,
    stop_details: refused ? { type: "refusal", category: null, explanation: null } : null,
  };
}
