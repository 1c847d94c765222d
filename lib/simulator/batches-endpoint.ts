import { ApiError, invalidRequest, notFound } from "./api-error.ts";
import { parseBetas, parseVersion } from "./api-version.ts";
import type { Exchange } from "./exchange.ts";
import { asArray, asObject, asString, fail, isObject, onlyKeys } from "./field.ts";
import { type BatchItem, MessageBatch, resultLine } from "./message-batch.ts";
import { pageById } from "./paging.ts";
import { readJson } from "./request-body.ts";
import { wireId } from "./seeded.ts";
import { parseWishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";

const MAX_REQUESTS = 100_000;
const MAX_BYTES = 256 * 1024 * 1024;
const CUSTOM_ID = /^[a-zA-Z0-9_-]{1,64}$/;
const BODY_KEYS: ReadonlySet<string> = new Set(["requests"]);
const REQUEST_KEYS: ReadonlySet<string> = new Set(["custom_id", "params"]);
/** Lines are written together, so that a large file is not a write a line. */
const LINES_PER_CHUNK = 200;

/** `POST /v1/messages/batches`. The params of each request are checked when its turn comes, and fail it alone. */
export async function createBatch(exchange: Exchange, state: SimulatorState): Promise<void> {
  const version = parseVersion(exchange.header("anthropic-version"));
  const betas = parseBetas(exchange.header("anthropic-beta"));
  const wishes = parseWishes(exchange.request.headers);
  const items = parseItems(await readJson(exchange.request, MAX_BYTES));
  const nowMs = exchange.clock.now();
  admitToQueue(state, items.length);
  const id = wireId("msgbatch", state.ids);
  const { batchMs: processingMs, ids: random } = state;
  const batch = new MessageBatch(items, { version, betas, wishes }, { id, nowMs, processingMs, random });
  state.batches.add(batch);
  exchange.sendJson(200, batch.body(originOf(exchange), nowMs));
}

export function listBatches(exchange: Exchange, state: SimulatorState): void {
  const nowMs = exchange.clock.now();
  const page = pageById(state.batches.list(), exchange.url.searchParams);
  exchange.sendJson(200, { ...page, data: page.data.map((batch) => batch.body(originOf(exchange), nowMs)) });
}

export function getBatch(exchange: Exchange, state: SimulatorState, id: string): void {
  exchange.sendJson(200, state.batches.get(id).body(originOf(exchange), exchange.clock.now()));
}

export function cancelBatch(exchange: Exchange, state: SimulatorState, id: string): void {
  const batch = state.batches.get(id);
  if (batch.results) throw invalidRequest(`Message Batch ${id} has ended and cannot be canceled.`);
  batch.cancel(exchange.clock.now());
  exchange.sendJson(200, batch.body(originOf(exchange), exchange.clock.now()));
}

export function deleteBatch(exchange: Exchange, state: SimulatorState, id: string): void {
  if (!state.batches.get(id).results) {
    throw invalidRequest(`Message Batch ${id} cannot be deleted while it is being processed. Cancel it first.`);
  }
  state.batches.delete(id);
  exchange.sendJson(200, { id, type: "message_batch_deleted" });
}

/** JSON lines in the order in which the requests were done, which is not the order in which they came. */
export async function sendResults(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const batch = state.batches.get(id);
  const { results } = batch;
  if (!results || !batch.hasResults(exchange.clock.now())) {
    throw notFound(`Message Batch ${id} has no available results.`);
  }
  exchange.writeHead(200, { "content-type": "application/x-jsonl" });
  for (let at = 0; at < results.length && !exchange.gone; at += LINES_PER_CHUNK) {
    const lines = results.slice(at, at + LINES_PER_CHUNK).map((result) => resultLine(result, exchange.requestId));
    await exchange.write(lines.join(""));
  }
  exchange.response.end();
}

function parseItems(body: unknown): BatchItem[] {
  if (!isObject(body)) throw invalidRequest("Input should be a valid dictionary or object to extract fields from");
  onlyKeys(body, "", BODY_KEYS);
  const requests = asArray(body.requests, "requests");
  if (requests.length === 0) fail("requests", "List should have at least 1 item after validation, not 0");
  if (requests.length > MAX_REQUESTS) {
    fail("requests", `List should have at most ${MAX_REQUESTS} items after validation, not ${requests.length}`);
  }
  const seen = new Set<string>();
  return requests.map((entry, index) => {
    const path = `requests.${index}`;
    const request = asObject(entry, path);
    onlyKeys(request, path, REQUEST_KEYS);
    const customId = asString(request.custom_id, `${path}.custom_id`);
    if (!CUSTOM_ID.test(customId)) fail(`${path}.custom_id`, `String should match pattern '${CUSTOM_ID.source}'`);
    if (seen.has(customId)) fail("requests", `custom_id values must be unique, but "${customId}" comes twice`);
    seen.add(customId);
    return { customId, params: asObject(request.params, `${path}.params`) };
  });
}

function admitToQueue(state: SimulatorState, added: number): void {
  const limit = state.limits.limitsOf("batch_queue").requests;
  const waiting = state.batches.list().reduce((sum, batch) => sum + (batch.results ? 0 : batch.size), 0);
  if (waiting + added <= limit) return;
  throw new ApiError(
    429,
    "rate_limit_error",
    `This request would exceed your organization's limit of ${limit.toLocaleString("en-US")} batch requests in the processing queue (org: ${state.organizationId}). Please wait for earlier batches to end.`,
  );
}

/** The API tells its own public address: the one the caller reached it by. */
function originOf(exchange: Exchange): string {
  return `http://${exchange.header("host") ?? "api.anthropic.com"}`;
}
