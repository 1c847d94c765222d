import type { Readable } from "node:stream";
import { classifyRefusal } from "../anthropic/error-detail.ts";
import { Http1Error } from "../http1/errors.ts";
import type { Flow, ResponseHandler } from "../http1/response-handler.ts";
import { type AnswerHeaders, readAnswerHeaders, withoutRateLimits } from "./answer-headers.ts";
import { BatchAnswerSink } from "./batch-answer-sink.ts";
import { lookUpBatch } from "./batch-lookup.ts";
import { BatchResultsMeter } from "./batch-results-meter.ts";
import type { CachePass } from "./cache-pass.ts";
import { CallBook } from "./call-book.ts";
import type { Ending } from "./call-record.ts";
import { chooseMeter } from "./choose-meter.ts";
import { CollectedBody } from "./collected-body.ts";
import type { GatewayContext } from "./context.ts";
import { judgeCredential } from "./credential.ts";
import { createDecoder, decodeWhole, LateDecoder, type Passage } from "./decoder.ts";
import { Departure } from "./departure.ts";
import { answersWithBatch, batchIdOf, type Endpoint, isModelCall, readEndpoint } from "./endpoint.ts";
import { HeldAnswer } from "./held-answer.ts";
import { withoutFraming } from "./hop-by-hop.ts";
import { type Meter, NO_METER, StreamMeter } from "./meter.ts";
import { type OwnAnswer, ownAnswers, renderOwnAnswer } from "./own-answer.ts";
import { Replay } from "./replay.ts";
import { type RequestHeaders, readRequestHeaders } from "./request-headers.ts";
import type { FoundAnswer } from "./response-cache.ts";
import { originFor } from "./results-url.ts";
import type { Arrival, ClientEvents, Sink } from "./sink.ts";
import { readingsOf } from "./traffic-desk.ts";
import type { TrafficPass } from "./traffic-pass.ts";
import type { OwnCredential } from "./upstream-set.ts";
import { WaitingSink } from "./waiting-sink.ts";

const NOT_PLAIN =
  "With an agent key the path must be spelt as the API spells it: without dot segments, doubled or trailing slashes, or needless escapes.";
/** The API takes Messages bodies of 32 MB; what is longer than this it would refuse too. */
const MAX_BODY_BYTES = 40 * 1024 * 1024;

/**
 * One call on its way through: arrived, perhaps collected, sent, answering, done. Bodies go both ways as they came while
 * a meter reads along. The call is recorded before the client can see the end of its answer, so that what a client has
 * whole is in the books, whatever happens next.
 */
export class Exchange implements ClientEvents, ResponseHandler {
  readonly #context: GatewayContext;
  readonly #arrival: Arrival;
  readonly #sink: Sink;
  /** The same as the sink where the client may be pinged. */
  readonly #waiting: WaitingSink | null;
  readonly #onDone: () => void;
  readonly #endpoint: Endpoint;
  readonly #headers: RequestHeaders;
  readonly #book: CallBook;

  #departure: Departure | null = null;
  /** Takes a copy of the answer; null unless the call asked for that. */
  #cache: CachePass | null = null;
  #replay: Replay | null = null;
  #held: HeldAnswer | null = null;
  #flow: Flow | null = null;
  #hasAnswer = false;
  #answerLength: number | null = null;
  #answerBytes = 0;
  #decoder: Passage | null = null;
  #decoding = 0;
  /** The trailers of an answer that has come to its end. */
  #ended: string[] | null = null;
  #isClientFull = false;
  #done = false;

  constructor(context: GatewayContext, arrival: Arrival, sink: Sink, onDone: () => void) {
    this.#context = context;
    this.#arrival = arrival;
    this.#onDone = onDone;
    this.#endpoint = readEndpoint(arrival.method, arrival.target);
    this.#headers = readRequestHeaders(arrival.rawHeaders);
    this.#book = new CallBook(context, arrival.method, this.#endpoint, this.#headers);
    const mayPing = this.#endpoint.kind === "messages" && context.settings.current.pingWhileWaiting;
    this.#waiting = mayPing ? new WaitingSink(sink, this.#book.id, context) : null;
    this.#sink = answersWithBatch(arrival.method, this.#endpoint.path)
      ? new BatchAnswerSink(sink, originFor(arrival, context.publicUrl), context.batches)
      : (this.#waiting ?? sink);
  }

  /** Takes the call on its way. */
  run(): void {
    const credential = judgeCredential(this.#headers, this.#endpoint.path, this.#context.credentials);
    const own = credential.kind === "admitted" ? credential.own : null;
    this.#book.identified(credential.agentKey, this.#context.upstreams.nameFor(own));
    const { body, target } = this.#arrival;
    if (credential.kind === "refused") this.refuse(credential.answer);
    else if (!target.startsWith("/")) this.refuse(ownAnswers.unforwardable("The request target must be a path."));
    // An agent is held to settings by its calls' paths, and TRACE would show it the upstream's credential.
    else if (credential.agentKey && !this.#endpoint.isPlain) this.refuse(ownAnswers.unforwardable(NOT_PLAIN));
    else if (this.#arrival.method === "TRACE") this.refuse(ownAnswers.unforwardable("TRACE is not forwarded."));
    else if (!isModelCall(this.#endpoint.kind)) this.#send(own, null, () => body.stream());
    else body.collect(MAX_BODY_BYTES, (whole) => this.#collected(own, whole));
  }

  /** Answers in Anthropic's place. `status` is what the books keep, where that is not the answer's own. */
  refuse(answer: OwnAnswer, status = answer.status): void {
    if (this.#done) return;
    const { refusal, type: errorType, code: errorCode } = answer;
    this.#record({ kind: "refused", refusal, errorType, errorCode }, status);
    this.#finish();
    const { rawHeaders, body } = renderOwnAnswer(answer, this.#book.id);
    this.#sink.start(answer.status, answer.reason, this.#marked(rawHeaders));
    if (this.#arrival.method !== "HEAD") this.#sink.write(body);
    this.#sink.end([]);
    this.#arrival.body.discard();
  }

  resume(): void {
    this.#isClientFull = false;
    this.#resumeUpstream();
    if (!this.#done) this.#replay?.resume();
  }

  hangUp(): void {
    if (this.#done) return;
    this.#record({ kind: this.#hasAnswer ? "cut" : "abandoned" });
    this.#finish();
    this.#flow?.abort();
  }

  /** Breaks the call off on both sides. */
  cut(): void {
    if (this.#done) return;
    this.hangUp();
    this.#sink.cut();
  }

  #collected(own: OwnCredential | null, body: CollectedBody | null): void {
    if (this.#done) return;
    const encoding = this.#headers.contentEncoding;
    if (body === null) this.refuse(ownAnswers.tooLarge(MAX_BODY_BYTES));
    else if (encoding === null) this.#answer(body, () => this.#send(own, body, () => body, body));
    else {
      void decodeWhole(encoding, body.whole(), MAX_BODY_BYTES).then((decoded) => {
        if (!this.#done) this.#send(own, decoded && new CollectedBody([decoded]), () => body, body);
      });
    }
  }

  /** Answers the call from memory, where it asks for that and its answer is there; else sends it. */
  #answer(body: CollectedBody, send: () => void): void {
    const cache = this.#book.request.cachePass(this.#arrival.target, body);
    const denial = cache && this.#book.judge(body);
    if (cache === null) send();
    else if (denial !== null) this.refuse(ownAnswers.notAdmitted(denial));
    else {
      void cache.find().then((found) => {
        if (this.#done) return;
        if (found === null) this.#cache = cache;
        if (found === null) send();
        else this.#giveAgain(found);
      });
    }
  }

  /** Nothing is sent: traffic control and the live view do not hear of it, and the books say why it cost nothing. */
  #giveAgain(found: FoundAnswer): void {
    this.#hasAnswer = true;
    this.#book.answeredFrom(found.answer);
    this.#replay = new Replay(found, this.#book.id, this.#sink, {
      beforeLast: () => this.#record({ kind: "answered" }),
      beforeEnd: () => this.#finish(),
    });
    this.#replay.resume();
  }

  /** `text` is the body where it can be read. */
  #send(
    own: OwnCredential | null,
    text: CollectedBody | null,
    get: () => CollectedBody | Readable | null,
    collected: CollectedBody | null = null,
  ): void {
    const { method, target } = this.#arrival;
    const call = { context: this.#context, endpoint: this.#endpoint, headers: this.#headers, book: this.#book };
    const body = { text, get, free: () => collected?.free() };
    const waiting = this.#waiting;
    this.#departure = new Departure({ ...call, waiting, arrival: { method, target } }, body, own, this);
    this.#departure.depart();
  }

  onStart(flow: Flow): void {
    this.#flow = flow;
    if (this.#done) flow.abort();
  }

  onInterim(status: number, rawHeaders: string[]): void {
    if (!this.#done) this.#sink.inform(status, rawHeaders);
  }

  onHead(status: number, reason: string, rawHeaders: string[]): void {
    if (this.#done) return;
    const answer = readAnswerHeaders(rawHeaders);
    const sender = this.#departure?.sender;
    if (isModelCall(this.#endpoint.kind) && sender) {
      this.#book.belongsTo(this.#context.upstreams.learn(sender, answer.organizationId));
    }
    if (this.#pass?.keepsRefusals && status >= 400) this.#held = new HeldAnswer(status, reason, answer);
    else this.#begin(status, reason, answer);
  }

  /** The answer goes to the client from here on. */
  #begin(status: number, reason: string, answer: AnswerHeaders): void {
    this.#hasAnswer = true;
    this.#departure?.accepted(this.#flow?.isWritten ?? false);
    this.#answerLength = answer.contentLength;
    const observed = this.#book.answered(status, answer);
    this.#cache?.began(status, reason, answer);
    const { method } = this.#arrival;
    const { kind } = this.#endpoint;
    const meter = chooseMeter({ method, kind, status, isEventStream: answer.isEventStream }, () =>
      this.#book.resultsMeter(),
    );
    this.#meter(meter, answer.contentEncoding);
    if (status < 400) {
      const isCountedFirst = meter instanceof StreamMeter && this.#book.meter === meter;
      this.#departure?.began(readingsOf(observed, this.#book.request.lane, answer.date), isCountedFirst);
    }
    const fault = this.#waiting?.faultOf(status, answer) ?? null;
    if (fault !== null) {
      this.refuse(fault, status);
      this.#flow?.abort();
      return;
    }
    const isStripped = this.#context.settings.current.rateLimitHeaders === "strip";
    const forwarded = isStripped ? withoutRateLimits(answer.forwarded) : answer.forwarded;
    this.#sink.start(status, reason, this.#marked(forwarded));
  }

  onData(chunk: Buffer): void {
    if (this.#done) return;
    if (this.#held !== null) {
      // Longer than any refusal is: whatever it be, it goes on as it comes.
      if (!this.#held.push(chunk)) this.#passOn(this.#held);
      return;
    }
    if (this.#decoder === null) {
      this.#book.meter.push(chunk);
      this.#forward(chunk);
      return;
    }
    // One chunk at a time; an upstream that closes its connection may hand over the rest all the same.
    this.#decoding += 1;
    this.#flow?.pause();
    this.#decoder.pass(chunk, () => {
      this.#decoding -= 1;
      if (this.#done) return;
      this.#forward(chunk);
      if (this.#decoding > 0) return;
      if (this.#ended !== null) this.onEnd(this.#ended);
      else this.#resumeUpstream();
    });
  }

  onEnd(rawTrailers: string[]): void {
    if (this.#held !== null && !this.#done) {
      this.#judge(this.#held, rawTrailers);
      return;
    }
    const trailers = withoutFraming(rawTrailers);
    this.#ended = trailers;
    if (this.#done || this.#decoding > 0) return;
    this.#record({ kind: this.#isWhole() ? "answered" : "cut" });
    this.#finish();
    this.#cache?.ended();
    this.#sink.end(trailers);
    this.#arrival.body.discard();
  }

  onError(error: Error): void {
    if (this.#done) return;
    if (this.#hasAnswer) {
      this.#record({ kind: "cut" });
      this.#finish();
      this.#sink.cut();
      return;
    }
    const held = this.#held;
    this.#held = null;
    this.#flow = null;
    const status = held?.status ?? null;
    const client = this.#departure?.sender?.client;
    const failure = client?.explain(error);
    // Said of every time, for the call may wait until its deadline without its client ever hearing of it.
    this.#context.log.warn({ host: client?.host, code: failure?.code }, "the upstream gave no answer");
    if (this.#departure?.refused({ status, cause: causeOf(error), retryAfterS: null, limits: {} })) return;
    if (held !== null) {
      // A refusal that broke off in its midst: what came of it goes on, and is cut there.
      this.#passOn(held);
      this.onError(error);
      return;
    }
    if (failure) this.refuse(failure.answer);
  }

  /** The upstream has refused: the call waits for another turn, or the refusal goes to the client as it came. */
  #judge(held: HeldAnswer, rawTrailers: string[]): void {
    held.read((error) => {
      if (this.#done) return;
      const limits = readingsOf(this.#book.observed(held.headers), this.#book.request.lane, held.headers.date);
      const cause = classifyRefusal(held.status, error, this.#book.rateLimitHeaders, this.#book.request.lane);
      this.#flow = null;
      this.#held = null;
      const { status, retryAfterS } = held;
      if (this.#departure?.refused({ status, cause, retryAfterS, limits })) return;
      this.#passOn(held);
      this.onEnd(rawTrailers);
    });
  }

  #passOn(held: HeldAnswer): void {
    this.#held = null;
    this.#begin(held.status, held.reason, held.headers);
    for (const chunk of held.chunks) this.onData(chunk);
  }

  #isWhole(): boolean {
    return !this.#book.meter.lacksEnd();
  }

  #meter(meter: Meter, encoding: string | null): void {
    if (meter === NO_METER) return;
    const decoder = createDecoder(encoding, (decoded) => meter.push(decoded));
    if (decoder === undefined) return;
    this.#book.meter = meter;
    this.#decoder = decoder;
    if (meter instanceof BatchResultsMeter) this.#decoder = this.#datedResults(meter, decoder);
  }

  /** Results are counted under the day on which their batch was made, which may have to be asked for. */
  #datedResults(meter: Meter, decoder: Passage | null): Passage | null {
    const { batches } = this.#context;
    const batchId = batchIdOf(this.#endpoint.path);
    const sender = this.#departure?.sender;
    if (!sender || batches.createdAtMs(batchId) !== null) return decoder;
    const sentHeaders = [...this.#headers.forwarded, ...sender.headers];
    const found = lookUpBatch({ client: sender.client, batches, batchId, sentHeaders });
    return new LateDecoder(found, decoder, (decoded) => meter.push(decoded));
  }

  #forward(chunk: Buffer): void {
    this.#answerBytes += chunk.length;
    this.#cache?.passed(chunk);
    this.#book.passed(chunk.length, this.#pass);
    if (this.#answerBytes === this.#answerLength || this.#book.meter.isComplete()) {
      this.#record({ kind: this.#isWhole() ? "answered" : "cut" });
    }
    if (this.#sink.write(chunk)) return;
    this.#isClientFull = true;
    this.#flow?.pause();
  }

  #resumeUpstream(): void {
    if (!this.#isClientFull && this.#decoding === 0 && !this.#done) this.#flow?.resume();
  }

  #marked(rawHeaders: string[]): string[] {
    rawHeaders.push("x-headroom-call", this.#book.id, "x-headroom-upstream", this.#book.upstream);
    if (this.#pass !== null) rawHeaders.push("x-headroom-wait-ms", String(Math.round(this.#book.waitMs)));
    const { fallbackFrom, request } = this.#book;
    if (fallbackFrom !== null) rawHeaders.push("x-headroom-fallback", `${fallbackFrom} -> ${request.model}`);
    if (this.#cache !== null) rawHeaders.push("x-headroom-cache", "miss");
    return rawHeaders;
  }

  get #pass(): TrafficPass | null {
    return this.#departure?.pass ?? null;
  }

  #record(ending: Ending, status?: number): void {
    const call = this.#book.record(ending, status);
    if (call === null) return;
    this.#pass?.end(call);
    this.#cache?.recorded(call);
  }

  #finish(): void {
    this.#done = true;
    this.#departure?.accepted(false);
    this.#decoder?.close();
    this.#waiting?.rest();
    this.#onDone();
  }
}

/** An upstream that took too long would take as long again; one that gave no answer may give the next. */
function causeOf(error: Error): "timeout" | null {
  return error instanceof Http1Error && error.code === "HTTP1_HEADERS_TIMEOUT" ? "timeout" : null;
}
