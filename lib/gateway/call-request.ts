import { boundClass } from "../access/call-class.ts";
import { type Lane, poolOf } from "../anthropic/pools.ts";
import { type RequestHead, readRequestHead, readRequestHeadQuickly } from "../anthropic/request-head.ts";
import type { TrafficCall } from "../traffic/ticket.ts";
import { type Attribution, attribute } from "./attribution.ts";
import { CachePass } from "./cache-pass.ts";
import { cacheKey, cacheLifetimeS, isDeterministic } from "./cacheable-call.ts";
import { cleanText } from "./clean-text.ts";
import type { CollectedBody } from "./collected-body.ts";
import type { GatewayContext } from "./context.ts";
import type { AgentKey } from "./credential.ts";
import type { Endpoint } from "./endpoint.ts";
import type { RequestHeaders } from "./request-headers.ts";
import type { Route } from "./upstream-set.ts";

/** What a caller without an agent key is bound by. */
const UNBOUND = { maxClass: "critical", defaultClass: "normal" } as const;
/** Without `max_tokens` the upstream refuses the call anyway. */
const DEFAULT_MAX_TOKENS = 8_192;

/** What one call asks for, and who asks, as far as it says. */
export class CallRequest {
  readonly endpoint: Endpoint;
  readonly headers: RequestHeaders;
  readonly #context: GatewayContext;
  #agentKey: AgentKey | null = null;
  #attribution: Attribution | null = null;
  #head: RequestHead | null = null;
  #model: string | null = null;
  #pool: string | null = null;
  #lane: Lane = "standard";

  constructor(context: GatewayContext, endpoint: Endpoint, headers: RequestHeaders) {
    this.#context = context;
    this.endpoint = endpoint;
    this.headers = headers;
  }

  identify(agentKey: AgentKey | null): void {
    this.#agentKey = agentKey;
  }

  /** Reads what the body says, where it can be read. */
  read(body: CollectedBody | null): void {
    const agent = this.#agentKey;
    const { guard } = this.#context;
    // Where nothing depends on what a body says but the books, which believe the answer, its two ends are enough.
    const isQuick = agent === null || guard === null || !guard.readsBodies(agent.id);
    const head = body && (isQuick ? readRequestHeadQuickly(body) : readRequestHead(body.whole()));
    this.#take(head);
    if (head?.speed === "fast") this.#lane = "fast";
    this.#attribution = this.#attribute(head?.userId ?? null);
  }

  get isRead(): boolean {
    return this.#attribution !== null;
  }

  get head(): RequestHead | null {
    return this.#head;
  }

  /** From here on it asks for what this head says: it was read of another body for the same call. */
  readAs(head: RequestHead | null): void {
    this.#take(head);
  }

  get agentKey(): AgentKey | null {
    return this.#agentKey;
  }

  get attribution(): Attribution {
    return this.#attribution ?? this.#attribute(null);
  }

  get model(): string | null {
    return this.#model;
  }

  get pool(): string | null {
    return this.#pool;
  }

  get lane(): Lane {
    return this.#lane;
  }

  /** `x-headroom-deadline-ms` in seconds, where it is believed, within what the agent's settings allow; null for none. */
  get deadlineS(): number | null {
    const { deadlineMs } = this.headers;
    const askedS = this.#isBelieved && deadlineMs !== null ? Number(deadlineMs) / 1000 : Number.NaN;
    const mostS = this.#agentKey?.settings?.maxWaitS ?? null;
    if (!Number.isFinite(askedS) || askedS <= 0) return mostS;
    return mostS === null ? askedS : Math.min(askedS, mostS);
  }

  /**
   * The call as traffic control needs to know it; null for one that is not of a model's pool. `patienceS` is the longest
   * that it may wait, where that is less than its own deadline.
   */
  trafficCall(bytes: number, { group, ownCredential }: Route, patienceS: number | null): TrafficCall | null {
    const pool = this.#pool;
    const model = this.#model;
    if (pool === null || model === null) return null;
    const { agent, session } = this.attribution;
    const { deadlineS } = this;
    return {
      ...{ group, ownCredential, pool, lane: this.#lane, model, bytes, agent },
      class: boundClass(this.#agentKey?.settings ?? UNBOUND, this.#isBelieved ? this.headers.askedClass : null),
      maxTokens: this.#head?.maxTokens ?? DEFAULT_MAX_TOKENS,
      streams: this.#head?.stream ?? false,
      deadlineS: patienceS === null ? deadlineS : Math.min(patienceS, deadlineS ?? patienceS),
      affinity: session ?? agent,
    };
  }

  /** The call's way through the response cache; null where it has none, as almost every call. */
  cachePass(target: string, body: CollectedBody): CachePass | null {
    if (this.endpoint.kind !== "messages") return null;
    const asked = this.#isBelieved ? this.headers.askedCache : null;
    const forS = cacheLifetimeS(asked, this.#agentKey?.settings?.responseCacheS ?? null);
    if (forS === null || !isDeterministic(body)) return null;
    const key = cacheKey({ agentKeyId: this.#agentKey?.id ?? null, target, headers: this.headers, body });
    return new CachePass(this.#context.cache, key, forS);
  }

  /** Whether what the caller says in headers of Headroom's own is believed. */
  get #isBelieved(): boolean {
    return this.#agentKey !== null || this.#context.believeLabels;
  }

  #take(head: RequestHead | null): void {
    this.#head = head;
    this.#model = head?.model ?? null;
    this.#pool = this.#model === null ? null : cleanText(poolOf(this.#model).id);
  }

  #attribute(userId: string | null): Attribution {
    const { believeLabels } = this.#context;
    return attribute({ agentKey: this.#agentKey, headers: this.headers, believeLabel: believeLabels, userId });
  }
}
