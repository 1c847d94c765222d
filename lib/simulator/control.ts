import { z } from "zod";
import { ApiError, invalidRequest, methodNotAllowed, notFound } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { FAULTS, type FaultRates } from "./faults.ts";
import type { LimitOverrides } from "./organization-limits.ts";
import { parseJson, readBody } from "./request-body.ts";
import type { SimulatorState } from "./simulator-state.ts";

const perMinute = z.int().min(1);
const amount = z.number().min(0).default(0);

const LimitsInput = z.record(
  z.string(),
  z.strictObject({ requests: perMinute, input_tokens: perMinute, output_tokens: perMinute }).partial(),
);
const FaultsInput = z
  .partialRecord(z.enum(FAULTS), z.number().min(0).max(1))
  .refine((rates) => Object.values(rates).reduce((sum, rate) => sum + rate, 0) <= 1, "rates add up to more than 1");
const DrainInput = z.strictObject({
  /** As in limits: a pool, or a pool and a lane. */
  pool: z.string().min(1),
  requests: amount,
  input_tokens: amount,
  output_tokens: amount,
});

/** Throws ApiError with what is wrong. */
export function parseLimits(value: unknown): LimitOverrides {
  return parse(LimitsInput, value);
}

/** Throws ApiError with what is wrong. */
export function parseFaults(value: unknown): FaultRates {
  return parse(FaultsInput, value);
}

/** `/simulator/*`: what the upstream knows and does, for tests, demos and benchmarks in other processes. */
export async function control(exchange: Exchange, state: SimulatorState): Promise<void> {
  const { method } = exchange.request;
  const path = exchange.url.pathname.slice("/simulator/".length);
  if (!["ledger", "limits", "faults", "drain"].includes(path)) throw notFound();
  const nowMs = exchange.clock.now();
  state.settleBatches(nowMs);
  if (method === "GET" && path === "ledger") {
    const after = Number(exchange.url.searchParams.get("after") ?? 0);
    const entries = state.ledger.entries.filter((entry) => entry.sequence > after);
    return exchange.sendJson(200, { sums: state.ledger.sums, entries });
  }
  if (method === "DELETE" && path === "ledger") {
    state.ledger.clear();
    return exchange.sendJson(200, { sums: state.ledger.sums, entries: [] });
  }
  if (method === "GET" && path === "limits") return exchange.sendJson(200, state.limits.levels(nowMs));
  if (method === "GET" && path === "faults") return exchange.sendJson(200, state.faults);
  if (method !== "POST" || path === "ledger") throw methodNotAllowed();
  const body = parseJson(await readBody(exchange.request));
  if (path === "limits") {
    state.limits.setLimits(parseLimits(body), nowMs);
    return exchange.sendJson(200, state.limits.levels(nowMs));
  }
  if (path === "faults") {
    state.faults = parseFaults(body);
    return exchange.sendJson(200, state.faults);
  }
  const { pool, ...amounts } = parse(DrainInput, body);
  state.limits.drain(pool, amounts, nowMs);
  return exchange.sendJson(200, state.limits.levels(nowMs));
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  if (!issue) throw new ApiError(400, "invalid_request_error", "Invalid input");
  throw invalidRequest(`${issue.path.join(".") || "body"}: ${issue.message}`);
}
