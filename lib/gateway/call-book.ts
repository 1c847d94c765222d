import type { Denial } from "../access/agent-guard.ts";
import type { Lease } from "../access/agent-lease.ts";
import { estimateCall } from "../access/call-estimate.ts";
import type { BatchResult } from "../anthropic/batch-result.ts";
import { getPool } from "../anthropic/pools.ts";
import { type ObservedLimit, parseRateLimitHeaders, rateLimitHeaderValues } from "../anthropic/rate-limit-headers.ts";
import { parseUnifiedWindows } from "../anthropic/unified-windows.ts";
import { type Tokens, tokensByPool, type Usage } from "../anthropic/usage.ts";
import { messageOf } from "../kit/errors.ts";
import { createId } from "../kit/ids.ts";
import type { Explanation } from "../traffic/schema.ts";
import { LONGEST_WAIT_S } from "../traffic/ticket.ts";
import type { OpenCall } from "../usage/live-usage.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { AnswerHeaders } from "./answer-headers.ts";
import { type Attribution, accountOf } from "./attribution.ts";
import { BatchCreationMeter } from "./batch-creation-meter.ts";
import { buildBatchRecord } from "./batch-record.ts";
import { BatchResultsMeter } from "./batch-results-meter.ts";
import { buildCallRecord, type Ending } from "./call-record.ts";
import { CallRequest } from "./call-request.ts";
import { cleanText } from "./clean-text.ts";
import type { CollectedBody } from "./collected-body.ts";
import type { GatewayContext } from "./context.ts";
import type { AgentKey } from "./credential.ts";
import { batchIdOf, type Endpoint } from "./endpoint.ts";
import { type Meter, NO_METER, NOTHING } from "./meter.ts";
import type { RequestHeaders } from "./request-headers.ts";
import type { KeptAnswer } from "./response-cache.ts";
import type { TrafficPass } from "./traffic-pass.ts";

/**
 * What is known of one call, gathered while it runs and written down once. Nothing that goes wrong here may fail the
 * call that it describes: it is logged, and the call goes on.
 */
export class CallBook {
  readonly id: string;
  readonly #context: GatewayContext;
  readonly #method: string;
  readonly request: CallRequest;
  readonly #startedAtMs: number;
  readonly #startedAt: number;

  /** Reads the answer's body; chosen when its head is known. */
  meter: Meter = NO_METER;

  /** Whose limits it draws on. */
  #upstream = "";
  #explanation: Explanation | null = null;
  /** What the call was before it fell back to another model. */
  #asked: { model: string; explanation: Explanation | null } | null = null;
  #lease: Lease | null = null;
  #sentAtMs: number | null = null;
  #live: OpenCall | null = null;
  #livePlace: { upstream: string; pool: string } | null = null;
  #status: number | null = null;
  #streamed = false;
  /** Reads which batch the call makes, where it makes one. */
  #creation: BatchCreationMeter | null = null;
  #rateLimitHeaders: Record<string, string> = {};
  #requestId: string | null = null;
  #cacheHit = false;
  #firstByteAt: number | null = null;
  #isRecorded = false;

  constructor(context: GatewayContext, method: string, endpoint: Endpoint, headers: RequestHeaders) {
    this.#context = context;
    this.#method = method;
    this.request = new CallRequest(context, endpoint, headers);
    this.#startedAtMs = context.clock.now();
    this.#startedAt = context.clock.monotonic();
    this.id = createId(this.#startedAtMs);
  }

  identified(agentKey: AgentKey | null, upstream: string): void {
    this.request.identify(agentKey);
    this.#upstream = upstream;
  }

  get upstream(): string {
    return this.#upstream;
  }

  /** The model that was asked for, where another one answers. */
  get fallbackFrom(): string | null {
    return this.#asked?.model ?? null;
  }

  /** Seconds that the call may yet wait, whatever its class would give it. */
  patienceLeftS(): number {
    const sinceS = (this.#context.clock.monotonic() - this.#startedAt) / 1000;
    return Math.min(this.request.deadlineS ?? LONGEST_WAIT_S, LONGEST_WAIT_S) - sinceS;
  }

  /** Traffic control has decided. */
  explained(explanation: Explanation): void {
    const { waitS = 0, attempts = 0 } = this.#asked?.explanation ?? {};
    this.#explanation = {
      ...explanation,
      ...{ waitS: waitS + explanation.waitS, attempts: attempts + explanation.attempts },
      fallbackFrom: this.fallbackFrom,
    };
  }

  /** The call goes on as one for another model, unless its agent may not make that one: then it stays what it was. */
  fallBack(text: CollectedBody): Denial | null {
    const { head, model } = this.request;
    if (model === null) return null;
    this.#lease?.release();
    this.#lease = null;
    this.request.read(text);
    const denial = this.admit(text);
    if (denial === null) this.#asked = { model, explanation: this.#explanation };
    else this.request.readAs(head);
    return denial;
  }

  get waitMs(): number {
    return Math.round((this.#explanation?.waitS ?? 0) * 1_000_000) / 1000;
  }

  /** Whether the caller's agent may make a call that is perhaps answered from memory, and then counts against nothing. */
  judge(body: CollectedBody): Denial | null {
    this.request.read(body);
    const { agentKey, model } = this.request;
    return (agentKey && this.#context.guard?.judgeCall(agentKey.id, model)) ?? null;
  }

  /** The call is answered from memory. */
  answeredFrom({ status, streamed, requestId, model, stopReason }: KeptAnswer): void {
    this.#cacheHit = true;
    this.#status = status;
    this.#streamed = streamed;
    this.#requestId = requestId;
    this.#firstByteAt = this.#context.clock.monotonic();
    this.meter = { ...NO_METER, read: () => ({ ...NOTHING, model, stopReason }) };
  }

  /**
   * Reads what the body says, where it can be read, and asks whether the caller's agent may make such a call now. What
   * is held for a call that may go out is given back when the call is recorded, whichever way it ends.
   */
  admit(body: CollectedBody | null): Denial | null {
    if (!this.request.isRead) this.request.read(body);
    const { agentKey: agent, head, model, endpoint } = this.request;
    const { guard } = this.#context;
    if (agent === null || guard === null) return null;
    const { kind } = endpoint;
    if (kind === "free" || kind === "batch_results") return guard.judgeAgent(agent.id);
    const startedAtMs = this.#startedAtMs;
    const admission = guard.admit({
      ...{ agentId: agent.id, model, nowMs: this.#context.clock.now(), startedAtMs },
      estimate: head && body ? () => estimateCall(body.whole(), head, startedAtMs) : null,
    });
    if (!admission.admitted) return admission;
    this.#lease = admission.lease;
    return null;
  }

  /** The call goes out, perhaps once more and elsewhere. */
  sent(upstream: string): void {
    this.#upstream = upstream;
    this.#sentAtMs = this.#context.clock.now();
    this.#showAt(upstream);
  }

  /** Where the live view has the call. */
  #showAt(upstream: string): void {
    const { pool, attribution } = this.request;
    if (pool === null) return;
    const before = this.#livePlace;
    // A call that is sent again to the same place is still the one call that is open there.
    if (before !== null && before.upstream === upstream && before.pool === pool) return;
    const place = { agent: attribution.agent, ...this.#place(pool) };
    this.#livePlace = place;
    this.#guard("live view", () => {
      this.#live?.leave();
      this.#live = this.#context.live.open(place);
    });
  }

  /** The head of the upstream's answer has come. Returns the limits that it told. */
  answered(status: number, answer: AnswerHeaders): ObservedLimit[] {
    this.#status = status;
    if (this.request.endpoint.kind === "batch" && status < 300) {
      this.#creation = new BatchCreationMeter(answer.contentEncoding);
      this.meter = this.#creation;
    }
    return this.observed(answer);
  }

  /** What an answer says of limits, be it this call's last or one that is tried again. Returns what was read. */
  observed(answer: AnswerHeaders): ObservedLimit[] {
    this.#streamed = answer.isEventStream;
    this.#requestId = answer.requestId;
    this.#rateLimitHeaders = rateLimitHeaderValues(answer.forwarded, { chat: this.request.endpoint.kind === "chat" });
    const { pool } = this.request;
    const sentAtMs = this.#sentAtMs;
    if (sentAtMs === null) return [];
    this.#guard("subscription windows", () => this.#observeWindows(answer.organizationId, sentAtMs));
    if (pool === null) return [];
    const observed = parseRateLimitHeaders(this.#rateLimitHeaders);
    if (observed.length === 0) return observed;
    this.#guard("limits", () => this.#context.limits.observe(this.#place(pool), observed, sentAtMs));
    return observed;
  }

  /** Organisations are known by their answers. */
  belongsTo(upstream: string): void {
    this.#upstream = upstream;
    if (this.#livePlace !== null) this.#showAt(upstream);
  }

  get rateLimitHeaders(): Readonly<Record<string, string>> {
    return this.#rateLimitHeaders;
  }

  /** Bytes of the answer's body have come and are about to go on. */
  passed(bytes: number, pass: TrafficPass | null): void {
    this.#firstByteAt ??= this.#context.clock.monotonic();
    const live = this.#live;
    if (live === null || !this.#streamed) return;
    const news = this.meter.takeNews();
    const counted = news === null ? null : this.#countedHere(news);
    this.#guard("live view", () => {
      if (counted !== null) live.prompt(counted);
      live.progress(bytes);
    });
    if (pass === null) return;
    this.#guard("traffic", () => {
      if (counted !== null) pass.counted(counted);
      pass.produced(live.produced());
    });
  }

  /**
   * Writes the call down. Only the first time counts; `status` is that of an answer of Headroom's own. Returns it with
   * what it counted against its pool's limits, in place of what is billed: other models may have taken part.
   */
  record(ending: Ending, status: number | null = this.#status): CallRecord | null {
    if (this.#isRecorded) return null;
    this.#isRecorded = true;
    const { endpoint, attribution, model, pool, lane } = this.request;
    if (endpoint.path === "/api/hello") return null;
    const now = this.#context.clock.monotonic();
    const reading = this.meter.read(ending.kind === "answered");
    const batchId = this.#madeBatch(ending);
    const call = buildCallRecord({
      id: this.id,
      startedAtMs: this.#startedAtMs,
      attribution,
      upstream: this.#upstream,
      endpoint,
      method: this.#method,
      requested: { model, pool, lane },
      sent: this.#sentAtMs !== null,
      status,
      streamed: this.#streamed,
      rateLimitHeaders: this.#rateLimitHeaders,
      requestId: this.#requestId,
      reading,
      ending,
      latencyMs: elapsed(this.#startedAt, now),
      ttftMs: this.#firstByteAt === null ? null : elapsed(this.#startedAt, this.#firstByteAt),
      waitMs: this.waitMs,
      traffic: this.#explanation,
      cacheHit: this.#cacheHit,
      batchId,
    });
    this.#guard("agent's caps", () => this.#settle(call, reading.usage !== null));
    this.#guard("recorder", () => this.#context.recorder.record(call));
    const counted = reading.usage?.iterations ? { ...call, ...this.#countedHere(reading.usage) } : call;
    this.#guard("live view", () => {
      this.#live?.close(counted);
      if (reading.usage?.iterations && this.#live) this.#countElsewhere(call, reading.usage);
    });
    return counted;
  }

  /** The batch that the call made: from here on its results are this caller's, whoever fetches them. */
  #madeBatch(ending: Ending): string | null {
    const batchId = ending.kind === "answered" && this.#creation ? cleanText(this.#creation.batchId()) : null;
    if (batchId !== null) this.#context.batches.made(batchId, this.request.attribution);
    return batchId;
  }

  /** Tokens that an answer counted against the limits of the call's own pool. */
  #countedHere(usage: Usage): Tokens {
    const { pool } = this.request;
    return (usage.iterations && pool !== null && tokensByPool(usage, pool).get(pool)) || usage;
  }

  /** Other models that took part in the answer drew on their own pools, a request each. */
  #countElsewhere(call: CallRecord, usage: Usage): void {
    const own = this.request.pool;
    if (own === null) return;
    for (const [pool, tokens] of tokensByPool(usage, own)) {
      if (pool === own) continue;
      const place = { agent: call.agent, ...this.#place(pool) };
      this.#context.live.open(place).close({ ...call, ...tokens });
    }
  }

  /** Reads a batch's results, each of which becomes a record of its own. */
  resultsMeter(): BatchResultsMeter {
    const { endpoint, attribution } = this.request;
    const batchId = batchIdOf(endpoint.path);
    return new BatchResultsMeter((result) => this.#countResult(result, batchId, attribution));
  }

  /** False where it is not known when the batch was made, which the record's key depends on. */
  #countResult(result: BatchResult, batchId: string, attribution: Attribution): boolean {
    const { batches, recorder } = this.#context;
    const createdAtMs = batches.createdAtMs(batchId);
    if (createdAtMs === null) return false;
    if (!batches.count(batchId, result.customId)) return true;
    const maker = batches.makerOf(batchId) ?? attribution;
    const call = buildBatchRecord(result, { batchId, createdAtMs, attribution: maker, upstream: this.#upstream });
    this.#guard("recorder", () => recorder.record(call));
    return true;
  }

  #observeWindows(organizationId: string | null, sentAtMs: number): void {
    const limits = parseUnifiedWindows(this.#rateLimitHeaders);
    if (limits === null) return;
    const userId = this.request.head?.userId ?? null;
    const account = cleanText((userId === null ? null : accountOf(userId)) ?? organizationId);
    this.#context.windows.observe({ upstream: this.#upstream, account }, limits, sentAtMs);
  }

  #settle(call: CallRecord, hasUsage: boolean): void {
    if (this.#sentAtMs === null) {
      this.#lease?.release();
      return;
    }
    const { inputTokens, cacheWriteTokens, cacheReadTokens, outputTokens, costNanoUsd, pool } = call;
    const counted = pool !== null && getPool(pool).cacheReadsCount ? cacheReadTokens : 0;
    // The upstream has got the prompt, and whoever hangs up before it has told what that was gets nothing back.
    const isUntold = costNanoUsd === null && !hasUsage;
    this.#lease?.settle({
      inputTokens: isUntold ? null : inputTokens + cacheWriteTokens + counted,
      outputTokens: isUntold && outputTokens === 0 ? null : outputTokens,
      costNanoUsd,
      nowMs: this.#context.clock.now(),
    });
  }

  #place(pool: string) {
    return { upstream: this.#upstream, pool, lane: this.request.lane };
  }

  #guard(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#context.log.error({ call: this.id, what, fault: messageOf(error) }, "a call could not be accounted for");
    }
  }
}

/** Milliseconds with three decimals: microseconds are real, what follows is noise. */
function elapsed(from: number, to: number): number {
  return Math.max(Math.round((to - from) * 1000) / 1000, 0);
}
