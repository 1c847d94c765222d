import type { Readable } from "node:stream";
import type { RefusalCause } from "../anthropic/error-detail.ts";
import type { ResponseHandler } from "../http1/response-handler.ts";
import type { LimitReadings } from "../traffic/dimensions.ts";
import type { UpstreamRefusal } from "../traffic/refusal-action.ts";
import type { Shed } from "../traffic/shed.ts";
import type { CallBook } from "./call-book.ts";
import type { CollectedBody } from "./collected-body.ts";
import type { GatewayContext } from "./context.ts";
import { type Endpoint, isModelCall } from "./endpoint.ts";
import { isHomeBound } from "./home-bound.ts";
import { type Fallback, findFallback, helpsAgainst, withModel } from "./model-fallback.ts";
import { type OwnAnswer, ownAnswers } from "./own-answer.ts";
import type { RequestHeaders } from "./request-headers.ts";
import type { Arrival } from "./sink.ts";
import { TrafficPass } from "./traffic-pass.ts";
import type { OwnCredential, Route, Sender } from "./upstream-set.ts";
import type { WaitingSink } from "./waiting-sink.ts";

const CAPS: ReadonlySet<RefusalCause> = new Set(["spend_cap", "contract_spend_cap", "own_spend_cap", "billing"]);

export type Outgoing = {
  context: GatewayContext;
  arrival: Pick<Arrival, "method" | "target">;
  endpoint: Endpoint;
  headers: RequestHeaders;
  book: CallBook;
  /** Set where the client is to be pinged while a stream waits. */
  waiting: WaitingSink | null;
};

export type OutgoingBody = {
  /** The body where it can be read. */
  text: CollectedBody | null;
  /** The body as it came. */
  get: () => CollectedBody | Readable | null;
  /** Gives its memory back; it is neither read nor sent any more. */
  free: () => void;
};

/** Takes the answer, or is told that there will be none. */
export type Traveller = ResponseHandler & { refuse(answer: OwnAnswer): void };

/**
 * How a call gets out: by which way, at whose turn, again when the upstream refuses before an answer has begun, and,
 * where an operator's rule says so, with another model.
 */
export class Departure {
  readonly #call: Outgoing;
  readonly #traveller: Traveller;
  #route: Route;
  /** The caller's credential where it goes through untouched. */
  readonly #own: OwnCredential | null;
  #pass: TrafficPass | null = null;
  #sender: Sender | null = null;
  /** Null once the upstream has accepted the call: a prompt is not held while its answer streams. */
  #body: OutgoingBody | null;
  #fallback: Fallback | null = null;
  #streams = false;
  /** Of the body as it can be read. */
  #bytes = 0;

  constructor(call: Outgoing, body: OutgoingBody, own: OwnCredential | null, traveller: Traveller) {
    const { upstreams } = call.context;
    this.#call = call;
    this.#body = body;
    this.#traveller = traveller;
    this.#own = own;
    if (own !== null) this.#route = upstreams.ownRoute(own);
    else if (upstreams.hasSeveral && isHomeBound(call.endpoint, call.headers, body.text)) {
      this.#route = upstreams.homeRoute();
    } else this.#route = upstreams.sharedRoute();
  }

  /** Null where traffic control is not asked. */
  get pass(): TrafficPass | null {
    return this.#pass;
  }

  /** Which way the call went out last. */
  get sender(): Sender | null {
    return this.#sender;
  }

  /** Sends the call, unless its agent may not make it now. */
  depart(): void {
    const { book, context, endpoint, headers } = this.#call;
    const text = this.#body?.text ?? null;
    const denial = book.admit(text);
    if (denial !== null) {
      this.#traveller.refuse(ownAnswers.notAdmitted(denial));
      return;
    }
    if (context.traffic === null || !isModelCall(endpoint.kind)) {
      this.#dispatch(null);
      return;
    }
    const rules = endpoint.kind === "messages" ? context.settings.current.fallbacks : [];
    const { model } = book.request;
    this.#fallback = findFallback({ rules, model, headers, text });
    if (model !== null && this.#fallback !== null) this.#call.waiting?.mayFallBack(model, this.#fallback.to);
    this.#enter(text?.length ?? 0, this.#fallback?.waitS ?? null);
  }

  /** The upstream has refused. True when the call goes on, at another turn or with another model. */
  refused(refusal: UpstreamRefusal): boolean {
    if (this.#pass === null) return false;
    if (this.#isElsewhere()) return this.#moveAfter(refusal);
    if (this.#isStrangers(refusal)) {
      this.#pass.leave();
      return false;
    }
    this.#waits();
    if (this.#pass.refused(refusal)) return true;
    return this.#pass.mayTryElse && helpsAgainst(refusal) && this.#fallBack();
  }

  /** A good answer has begun: what it says of limits is said of those of its own organisation. */
  began(limits: LimitReadings, isCountedFirst: boolean): void {
    if (this.#isElsewhere()) this.#pass?.leave();
    else this.#pass?.began(limits, isCountedFirst);
  }

  /** The answer goes to the client from here on; `isWritten` where the upstream's connection has the whole body. */
  accepted(isWritten: boolean): void {
    if (isWritten) this.#body?.free();
    this.#body = null;
  }

  /** Whether a caller's own credential has turned out to be of another organisation than it was taken for. */
  #isElsewhere(): boolean {
    if (this.#own === null || this.#sender === null) return false;
    return this.#call.context.upstreams.nameOf(this.#sender) !== this.#route.group;
  }

  /** Whether somebody whose organisation nobody has told says what would stop the upstream for all others. */
  #isStrangers({ status, cause, retryAfterS }: UpstreamRefusal): boolean {
    if (this.#own === null || this.#sender === null || this.#call.context.upstreams.isKnown(this.#sender)) return false;
    return (cause !== null && CAPS.has(cause)) || (status === 429 && retryAfterS === null);
  }

  /** The call goes again in the queue of its own organisation, where that can help. */
  #moveAfter({ status }: UpstreamRefusal): boolean {
    const mayTryElse = this.#pass?.mayTryElse ?? false;
    this.#pass?.leave();
    if (this.#own === null || !mayTryElse || (status !== 429 && status !== 529)) return false;
    this.#route = this.#call.context.upstreams.ownRoute(this.#own);
    this.#enter(this.#bytes, null);
    return true;
  }

  /** Waits for its turn, and again whenever the upstream refuses. */
  #enter(bytes: number, patienceS: number | null): void {
    this.#bytes = bytes;
    const { context, book } = this.#call;
    const call = context.traffic && book.request.trafficCall(bytes, this.#route, patienceS);
    if (!context.traffic || !call) {
      this.#dispatch(null);
      return;
    }
    const pass = new TrafficPass(context.traffic, call.group);
    this.#pass = pass;
    this.#streams = call.streams;
    this.#waits();
    pass.enter(call, {
      go: (explanation) => {
        if (this.#body === null) return;
        this.#call.waiting?.goes();
        book.explained(explanation);
        this.#dispatch(explanation.upstream);
      },
      shed: (refusal, explanation) => {
        if (explanation) book.explained(explanation);
        this.#shed(refusal);
      },
    });
  }

  #waits(): void {
    if (this.#streams) this.#call.waiting?.waits();
  }

  #shed(refusal: Shed): void {
    if (refusal.reason === "deadline" || refusal.reason === "predicted_wait") {
      if (this.#fallBack()) return;
    }
    this.#traveller.refuse(ownAnswers.shed(refusal));
  }

  /** Makes the call one for another model, once. False where no rule says so, or it may not be. */
  #fallBack(): boolean {
    const { book } = this.#call;
    const rule = this.#fallback;
    const text = this.#body?.text;
    this.#fallback = null;
    if (rule === null || !text) return false;
    const body = withModel(text, rule.to);
    const leftS = book.patienceLeftS();
    if (body === null || leftS <= 0 || book.fallBack(body) !== null) return false;
    this.#body = { text: body, get: () => body, free: () => body.free() };
    this.#enter(body.length, leftS);
    return true;
  }

  #dispatch(upstream: string | null): void {
    const { context, arrival, headers, book, waiting } = this.#call;
    const sender = this.#route.choose(upstream);
    if (sender === null || this.#body === null) {
      // The upstream was taken away while the call waited.
      this.#traveller.refuse(ownAnswers.noUpstreamCredential());
      return;
    }
    this.#sender = sender;
    book.sent(context.upstreams.nameOf(sender));
    const { method, target } = arrival;
    const { contentLength } = headers;
    const whole = [...headers.forwarded, ...sender.headers];
    const sent = waiting?.headersFor(whole) ?? whole;
    const body = this.#body.get();
    // A body that was decoded to be read is not needed for sending, and may be many times as long.
    if (this.#fallback === null) this.#body = { ...this.#body, text: null };
    const streams = book.request.head?.stream ?? false;
    sender.client.dispatch({ method, target, headers: sent, body, contentLength, streams }, this.#traveller);
  }
}
