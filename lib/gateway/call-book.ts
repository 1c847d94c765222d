import type { Denial } from "../access/agent-guard.ts";
import type { Lease } from "../access/agent-lease.ts";
import { boundClass } from "../access/call-class.ts";
import { estimateCall } from "../access/call-estimate.ts";
import type { BatchResult } from "../anthropic/batch-result.ts";
import { getPool, type Lane, poolOf } from "../anthropic/pools.ts";
import { type ObservedLimit, parseRateLimitHeaders, rateLimitHeaderValues } from "../anthropic/rate-limit-headers.ts";
import { type RequestHead, readRequestHead, readRequestHeadQuickly } from "../anthropic/request-head.ts";
import { parseUnifiedWindows } from "../anthropic/unified-windows.ts";
import { messageOf } from "../kit/errors.ts";
import { createId } from "../kit/ids.ts";
import type { Explanation } from "../traffic/schema.ts";
import type { TrafficCall } from "../traffic/ticket.ts";
import type { OpenCall } from "../usage/live-usage.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { AnswerHeaders } from "./answer-headers.ts";
import { type Attribution, accountOf, attribute } from "./attribution.ts";
import { buildBatchRecord } from "./batch-record.ts";
import { BatchResultsMeter } from "./batch-results-meter.ts";
import { CachePass } from "./cache-pass.ts";
import { cacheKey, cacheLifetimeS, isDeterministic } from "./cacheable-call.ts";
import { buildCallRecord, type Ending } from "./call-record.ts";
import { cleanText } from "./clean-text.ts";
import type { CollectedBody } from "./collected-body.ts";
import type { GatewayContext } from "./context.ts";
import type { AgentKey } from "./credential.ts";
import { batchIdOf, type Endpoint } from "./endpoint.ts";
import { type Meter, NO_METER, NOTHING } from "./meter.ts";
import type { RequestHeaders } from "./request-headers.ts";
import type { KeptAnswer } from "./response-cache.ts";
import type { TrafficPass } from "./traffic-pass.ts";

/** What a caller without an agent key is bound by. */
const UNBOUND = { maxClass: "critical", defaultClass: "normal" } as const;
/** Without `max_tokens` the upstream refuses the call anyway. */
const DEFAULT_MAX_TOKENS = 8_192;

/**
 * What is known of one call, gathered while it runs and written down once. Nothing that goes wrong here may fail the
 * call that it describes: it is logged, and the call goes on.
 */
export class CallBook {
  readonly id: string;
  readonly #context: GatewayContext;
  readonly #method: string;
  readonly #endpoint: Endpoint;
  readonly #headers: RequestHeaders;
  readonly #startedAtMs: number;
  readonly #startedAt: number;

  /** Reads the answer's body; chosen when its head is known. */
  meter: Meter = NO_METER;

  #agentKey: AgentKey | null = null;
  #attribution: Attribution | null = null;
  #model: string | null = null;
  #pool: string | null = null;
  #lane: Lane = "standard";
  /** Whose limits it draws on. */
  #upstream: string;
  #head: RequestHead | null = null;
  #explanation: Explanation | null = null;
  #lease: Lease | null = null;
  #sentAtMs: number | null = null;
  #live: OpenCall | null = null;
  #status: number | null = null;
  #streamed = false;
  #rateLimitHeaders: Record<string, string> = {};
  #requestId: string | null = null;
  #cacheHit = false;
  #firstByteAt: number | null = null;
  #isRecorded = false;

  constructor(context: GatewayContext, method: string, endpoint: Endpoint, headers: RequestHeaders) {
    this.#context = context;
    this.#method = method;
    this.#endpoint = endpoint;
    this.#headers = headers;
    this.#upstream = context.upstreamName;
    this.#startedAtMs = context.clock.now();
    this.#startedAt = context.clock.monotonic();
    this.id = createId(this.#startedAtMs);
  }

  identified(agentKey: AgentKey | null, upstream: string): void {
    this.#agentKey = agentKey;
    this.#upstream = upstream;
  }

  get upstream(): string {
    return this.#upstream;
  }

  get lane(): Lane {
    return this.#lane;
  }

  /** The call as traffic control needs to know it; null for one that is not of a model's pool. */
  trafficCall(bytes: number): TrafficCall | null {
    const pool = this.#pool;
    const model = this.#model;
    const attribution = this.#attribution;
    if (pool === null || model === null || attribution === null) return null;
    const { askedClass, deadlineMs } = this.#headers;
    const isBelieved = this.#isBelieved;
    const bounds = this.#agentKey?.settings ?? UNBOUND;
    const deadline = isBelieved && deadlineMs !== null ? Number(deadlineMs) / 1000 : Number.NaN;
    return {
      ...{ group: this.#upstream, pool, lane: this.#lane, model, bytes, agent: attribution.agent },
      class: boundClass(bounds, isBelieved ? askedClass : null),
      maxTokens: this.#head?.maxTokens ?? DEFAULT_MAX_TOKENS,
      streams: this.#head?.stream ?? false,
      deadlineS: Number.isFinite(deadline) && deadline > 0 ? deadline : null,
      affinity: attribution.session ?? attribution.agent,
    };
  }

  /** Traffic control has decided. */
  explained(explanation: Explanation): void {
    this.#explanation = explanation;
  }

  get waitMs(): number {
    return Math.round((this.#explanation?.waitS ?? 0) * 1_000_000) / 1000;
  }

  /** The call's way through the response cache; null where it has none, as almost every call. */
  cachePass(target: string, body: CollectedBody): CachePass | null {
    if (this.#endpoint.kind !== "messages") return null;
    const asked = this.#isBelieved ? this.#headers.askedCache : null;
    const forS = cacheLifetimeS(asked, this.#agentKey?.settings?.responseCacheS ?? null);
    if (forS === null || !isDeterministic(body)) return null;
    const key = cacheKey({ agentKeyId: this.#agentKey?.id ?? null, target, headers: this.#headers, body });
    return new CachePass(this.#context.cache, key, forS);
  }

  /** Whether the caller's agent may make a call that is perhaps answered from memory, and then counts against nothing. */
  judge(body: CollectedBody): Denial | null {
    this.#read(body);
    const agent = this.#agentKey;
    return (agent && this.#context.guard?.judgeCall(agent.id, this.#model)) ?? null;
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
    if (this.#attribution === null) this.#read(body);
    const head = this.#head;
    const agent = this.#agentKey;
    const { guard } = this.#context;
    if (agent === null || guard === null) return null;
    const { kind } = this.#endpoint;
    if (kind === "free" || kind === "batch_results") return guard.judgeAgent(agent.id);
    const startedAtMs = this.#startedAtMs;
    const admission = guard.admit({
      ...{ agentId: agent.id, model: this.#model, nowMs: this.#context.clock.now(), startedAtMs },
      estimate: head && body ? () => estimateCall(body.whole(), head, startedAtMs) : null,
    });
    if (!admission.admitted) return admission;
    this.#lease = admission.lease;
    return null;
  }

  /** The call goes out. */
  sent(): void {
    this.#sentAtMs = this.#context.clock.now();
    // A call that is sent again is still the one call that is open.
    if (this.#pool === null || this.#attribution === null || this.#live !== null) return;
    const place = { agent: this.#attribution.agent, ...this.#place(this.#pool) };
    this.#guard("live view", () => {
      this.#live = this.#context.live.open(place);
    });
  }

  /** The head of the upstream's answer has come. Returns the limits that it told. */
  answered(status: number, answer: AnswerHeaders): ObservedLimit[] {
    this.#status = status;
    return this.observed(answer);
  }

  /** What an answer says of limits, be it this call's last or one that is tried again. Returns what was read. */
  observed(answer: AnswerHeaders): ObservedLimit[] {
    this.#streamed = answer.isEventStream;
    this.#requestId = answer.requestId;
    this.#rateLimitHeaders = rateLimitHeaderValues(answer.forwarded, { chat: this.#endpoint.kind === "chat" });
    const pool = this.#pool;
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
    this.#guard("live view", () => {
      if (news !== null) live.prompt(news);
      live.progress(bytes);
    });
    if (pass === null) return;
    this.#guard("traffic", () => {
      if (news !== null) pass.counted(news);
      pass.produced(live.produced());
    });
  }

  /** Writes the call down. Only the first time counts; `status` is that of an answer of Headroom's own. */
  record(ending: Ending, status: number | null = this.#status): CallRecord | null {
    if (this.#isRecorded) return null;
    this.#isRecorded = true;
    if (this.#endpoint.path === "/api/hello") return null;
    const now = this.#context.clock.monotonic();
    const call = buildCallRecord({
      id: this.id,
      startedAtMs: this.#startedAtMs,
      attribution: this.#attribution ?? this.#attribute(null),
      upstream: this.#upstream,
      endpoint: this.#endpoint,
      method: this.#method,
      requested: { model: this.#model, pool: this.#pool, lane: this.#lane },
      sent: this.#sentAtMs !== null,
      status,
      streamed: this.#streamed,
      rateLimitHeaders: this.#rateLimitHeaders,
      requestId: this.#requestId,
      reading: this.meter.read(ending.kind === "answered"),
      ending,
      latencyMs: elapsed(this.#startedAt, now),
      ttftMs: this.#firstByteAt === null ? null : elapsed(this.#startedAt, this.#firstByteAt),
      waitMs: this.waitMs,
      traffic: this.#explanation,
      cacheHit: this.#cacheHit,
    });
    this.#guard("agent's caps", () => this.#settle(call));
    this.#guard("recorder", () => this.#context.recorder.record(call));
    this.#guard("live view", () => this.#live?.close(call));
    return call;
  }

  /** Reads a batch's results, each of which becomes a record of its own. */
  resultsMeter(): BatchResultsMeter {
    const batchId = batchIdOf(this.#endpoint.path);
    const attribution = this.#attribution ?? this.#attribute(null);
    return new BatchResultsMeter((result) => this.#countResult(result, batchId, attribution));
  }

  /** False where it is not known when the batch was made, which the record's key depends on. */
  #countResult(result: BatchResult, batchId: string, attribution: Attribution): boolean {
    const { batches, recorder } = this.#context;
    const createdAtMs = batches.createdAtMs(batchId);
    if (createdAtMs === null) return false;
    if (!batches.count(batchId, result.customId)) return true;
    const call = buildBatchRecord(result, { batchId, createdAtMs, attribution, upstream: this.#upstream });
    this.#guard("recorder", () => recorder.record(call));
    return true;
  }

  #read(body: CollectedBody | null): void {
    const agent = this.#agentKey;
    const { guard } = this.#context;
    // Where nothing depends on what a body says but the books, which believe the answer, its two ends are enough.
    const isQuick = agent === null || guard === null || !guard.readsBodies(agent.id);
    const head = body && (isQuick ? readRequestHeadQuickly(body) : readRequestHead(body.whole()));
    this.#head = head;
    this.#model = head?.model ?? null;
    this.#pool = this.#model === null ? null : cleanText(poolOf(this.#model).id);
    if (head?.speed === "fast") this.#lane = "fast";
    this.#attribution = this.#attribute(head?.userId ?? null);
  }

  /** Whether what the caller says in headers of Headroom's own is believed. */
  get #isBelieved(): boolean {
    return this.#agentKey !== null || this.#context.believeLabels;
  }

  #observeWindows(organizationId: string | null, sentAtMs: number): void {
    const limits = parseUnifiedWindows(this.#rateLimitHeaders);
    if (limits === null) return;
    const userId = this.#head?.userId ?? null;
    const account = cleanText((userId === null ? null : accountOf(userId)) ?? organizationId);
    this.#context.windows.observe({ upstream: this.#upstream, account }, limits, sentAtMs);
  }

  #settle(call: CallRecord): void {
    if (this.#sentAtMs === null) {
      this.#lease?.release();
      return;
    }
    const { inputTokens, cacheWriteTokens, cacheReadTokens, outputTokens, costNanoUsd, pool } = call;
    const counted = pool !== null && getPool(pool).cacheReadsCount ? cacheReadTokens : 0;
    this.#lease?.settle({
      ...{ inputTokens: inputTokens + cacheWriteTokens + counted, outputTokens, costNanoUsd },
      nowMs: this.#context.clock.now(),
    });
  }

  #attribute(userId: string | null): Attribution {
    const { believeLabels } = this.#context;
    return attribute({ agentKey: this.#agentKey, headers: this.#headers, believeLabel: believeLabels, userId });
  }

  #place(pool: string) {
    return { upstream: this.#upstream, pool, lane: this.#lane };
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
