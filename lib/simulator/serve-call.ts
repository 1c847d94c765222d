import { getPool } from "../anthropic/pools.ts";
import { hashRequest, planAnswer } from "./answer.ts";
import { type CallPlan, planCall } from "./call-plan.ts";
import { deliver } from "./delivery.ts";
import type { Exchange } from "./exchange.ts";
import { drawFault, refusalOf } from "./faults.ts";
import type { MessageRequest } from "./message-request.ts";
import { estimateOf, lookUpPrompt } from "./prompt-lookup.ts";
import { rateLimited } from "./rate-limit-refusal.ts";
import type { Rendering } from "./rendering.ts";
import { seeded, wireId } from "./seeded.ts";
import type { Wishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";
import { countedInput } from "./turns.ts";

/** What differs between the endpoints that answer with a model's output. */
export type CallForm = {
  render(plan: CallPlan, serviceTier: "standard" | "priority", messageId: string): Rendering;
  /** What becomes of the rate-limit headers; default: they go out as they are. */
  headers?(rateLimit: Record<string, string>): Record<string, string>;
};

/** Takes an accepted request to its answer: faults, limits, plan, delivery. Throws ApiError for what is refused. */
export async function serveCall(
  exchange: Exchange,
  state: SimulatorState,
  request: MessageRequest,
  wishes: Wishes,
  form: CallForm,
): Promise<void> {
  const draws = seeded(state.nextDraw());
  const fault = wishes.fault ?? drawFault(state.faults, draws());
  exchange.fault = fault;
  if (fault === "reset") return exchange.hangUp();
  const refusal = fault && refusalOf(fault, request.stream, draws());
  if (refusal) throw refusal;

  const prompt = lookUpPrompt(request, wishes, state.cache, exchange.arrivedMs);
  const pool = getPool(exchange.pool ?? "");
  const counted = countedInput(prompt, pool.cacheReadsCount);
  const limit = state.limits.limitsOf(request.lane === "fast" ? `${pool.id}/fast` : pool.id).input_tokens;
  const estimate = estimateOf(counted, limit, state.inputEstimateError, draws());
  const seed = hashRequest(request, state.seed);
  const asked = fault === "refusal" ? { ...wishes, stopReason: "refusal" as const } : wishes;
  const answer = planAnswer(request, asked, seed);
  const nowMs = exchange.clock.now();
  const { outputTokens } = answer;
  const call = { pool: pool.id, lane: request.lane, inputTokens: estimate, maxTokens: request.maxTokens, outputTokens };
  const admission =
    exchange.credential === "subscription" ? state.subscription.admit(call, nowMs) : state.limits.admit(call, nowMs);
  exchange.lane = admission.lane;
  const headers = form.headers ? form.headers(admission.headers) : admission.headers;
  if (!admission.admitted) {
    const context = { organizationId: state.organizationId, model: request.model.id, draw: draws() };
    const error = "error" in admission ? admission.error : rateLimited(admission, context);
    exchange.billed = false;
    exchange.sendError(error, headers);
    return;
  }
  const { charge } = admission;
  const plan = planCall({ request, wishes, answer, prompt, charge, limits: state.limits, seed, nowMs });
  const serviceTier = admission.lane === "priority" ? "priority" : "standard";
  exchange.billed = plan.billed;
  exchange.model = plan.servedBy.id;
  exchange.serviceTier = serviceTier;
  exchange.speed = request.speed;
  exchange.inferenceGeo = request.inferenceGeo;
  const rendering = form.render(plan, serviceTier, wireId("msg", draws));
  const inputCorrection = counted - estimate;
  const streamed = request.stream;
  await deliver({
    exchange,
    state,
    wishes,
    plan,
    rendering,
    streamed,
    fault,
    headers,
    inputCorrection,
    commit: prompt.commit,
  });
}
