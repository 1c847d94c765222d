import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { readAnswerHeaders, toStrings, withoutRateLimits } from "./answer-headers.ts";
import { CallBook } from "./call-book.ts";
import type { GatewayContext } from "./context.ts";
import { judgeCredential } from "./credential.ts";
import { createDecoder, type Decoder, decodeWhole } from "./decoder.ts";
import { type Endpoint, readEndpoint } from "./endpoint.ts";
import { ErrorMeter, MessageMeter, type Meter, NO_METER, StreamMeter } from "./meter.ts";
import { type OwnAnswer, ownAnswers, renderOwnAnswer } from "./own-answer.ts";
import { type RequestHeaders, readRequestHeaders } from "./request-headers.ts";
import type { Arrival, ClientEvents, Sink } from "./sink.ts";

/** The API takes Messages bodies of 32 MB; what is longer than this it would refuse too. */
const MAX_BODY_BYTES = 40 * 1024 * 1024;

/**
 * One call on its way through: arrived, perhaps collected, sent, answering, done. Bodies go both ways as they came while
 * a meter reads along. The call is recorded before the client can see the end of its answer, so that what a client has
 * whole is in the books, whatever happens next.
 */
export class Exchange implements ClientEvents, Dispatcher.DispatchHandler {
  readonly #context: GatewayContext;
  readonly #arrival: Arrival;
  readonly #sink: Sink;
  readonly #onDone: (exchange: Exchange) => void;
  readonly #endpoint: Endpoint;
  readonly #headers: RequestHeaders;
  readonly #book: CallBook;

  #controller: Dispatcher.DispatchController | null = null;
  #hasAnswer = false;
  #answerLength: number | null = null;
  #answerBytes = 0;
  #decoder: Decoder | null = null;
  #decoding = 0;
  #ended = false;
  #isClientFull = false;
  #done = false;

  constructor(context: GatewayContext, arrival: Arrival, sink: Sink, onDone: (exchange: Exchange) => void) {
    this.#context = context;
    this.#arrival = arrival;
    this.#sink = sink;
    this.#onDone = onDone;
    this.#endpoint = readEndpoint(arrival.method, arrival.target);
    this.#headers = readRequestHeaders(arrival.rawHeaders);
    this.#book = new CallBook(context, arrival.method, this.#endpoint, this.#headers);
  }

  /** Takes the call on its way. */
  run(): void {
    const credential = judgeCredential(this.#headers, this.#endpoint.path, this.#context.credentials);
    this.#book.identified(credential.agentKey);
    const { body, target } = this.#arrival;
    if (credential.kind === "refused") this.refuse(credential.answer);
    else if (!target.startsWith("/")) this.refuse(ownAnswers.unforwardable("The request target must be a path."));
    else if (this.#endpoint.kind !== "messages") this.#send(credential.headers, null, () => body.stream());
    else body.collect(MAX_BODY_BYTES, (whole) => this.#collected(credential.headers, whole));
  }

  /** Answers in Anthropic's place. */
  refuse(answer: OwnAnswer): void {
    if (this.#done) return;
    const { refusal, type: errorType, code: errorCode } = answer;
    this.#book.record({ kind: "refused", refusal, errorType, errorCode }, answer.status);
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
  }

  hangUp(): void {
    if (this.#done) return;
    this.#book.record({ kind: this.#hasAnswer ? "cut" : "abandoned" });
    this.#finish();
    this.#controller?.abort(new Error("the call was broken off"));
  }

  /** Breaks the call off on both sides. */
  cut(): void {
    if (this.#done) return;
    this.hangUp();
    this.#sink.cut();
  }

  #collected(credentialHeaders: readonly string[], body: Buffer | null): void {
    if (this.#done) return;
    const encoding = this.#headers.contentEncoding;
    if (body === null) this.refuse(ownAnswers.tooLarge(MAX_BODY_BYTES));
    else if (encoding === null) this.#send(credentialHeaders, body, () => body);
    else {
      void decodeWhole(encoding, body, 4 * MAX_BODY_BYTES).then((decoded) => {
        if (!this.#done) this.#send(credentialHeaders, decoded, () => body);
      });
    }
  }

  /** Sends the call, unless its agent may not make it now. `text` is the body where it can be read. */
  #send(credentialHeaders: readonly string[], text: Buffer | null, getBody: () => Buffer | Readable | null): void {
    const denial = this.#book.admit(text);
    if (denial !== null) {
      this.refuse(ownAnswers.notAdmitted(denial));
      return;
    }
    const headers = this.#headers.forwarded;
    for (const part of credentialHeaders) headers.push(part);
    this.#book.sent();
    const body = getBody();
    const { method, target } = this.#arrival;
    const { contentLength } = this.#headers;
    this.#context.client.dispatch({ method, target, headers, body, contentLength }, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#done) controller.abort(new Error("the call was broken off"));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _: unknown, reason = ""): void {
    if (this.#done) return;
    if (status < 200) {
      this.#sink.inform(status, toStrings(controller.rawHeaders));
      return;
    }
    const answer = readAnswerHeaders(controller.rawHeaders);
    this.#hasAnswer = true;
    this.#answerLength = answer.contentLength;
    this.#book.answered(status, answer);
    this.#meter(this.#chooseMeter(status, answer.isEventStream), answer.contentEncoding);
    const isStripped = this.#context.settings.current.rateLimitHeaders === "strip";
    const forwarded = isStripped ? withoutRateLimits(answer.forwarded) : answer.forwarded;
    this.#sink.start(status, reason, this.#marked(forwarded));
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#done) return;
    if (this.#decoder === null) {
      this.#book.meter.push(chunk);
      this.#forward(controller, chunk);
      return;
    }
    // One chunk at a time; an upstream that closes its connection may hand over the rest all the same.
    this.#decoding += 1;
    controller.pause();
    this.#decoder.pass(chunk, () => {
      this.#decoding -= 1;
      if (this.#done) return;
      this.#forward(controller, chunk);
      if (this.#decoding > 0) return;
      if (this.#ended) this.onResponseEnd(controller);
      else this.#resumeUpstream();
    });
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    this.#ended = true;
    if (this.#done || this.#decoding > 0) return;
    this.#book.record({ kind: this.#isWhole() ? "answered" : "cut" });
    this.#finish();
    this.#sink.end(toStrings(controller.rawTrailers));
    this.#arrival.body.discard();
  }

  onResponseError(_: unknown, error: Error): void {
    if (this.#done) return;
    if (this.#hasAnswer) {
      this.#book.record({ kind: "cut" });
      this.#finish();
      this.#sink.cut();
      return;
    }
    const failure = this.#context.client.explain(error);
    this.#context.log.warn({ host: this.#context.client.host, code: failure.code }, "the upstream gave no answer");
    this.refuse(failure.answer);
  }

  /** A stream of a message that ends in good order, but without its last event, was cut further up. */
  #isWhole(): boolean {
    const { meter } = this.#book;
    return !(meter instanceof StreamMeter) || meter.isComplete();
  }

  #chooseMeter(status: number, isEventStream: boolean): Meter {
    if (this.#arrival.method === "HEAD") return NO_METER;
    if (status >= 400) return new ErrorMeter();
    if (this.#endpoint.kind !== "messages") return NO_METER;
    return isEventStream ? new StreamMeter() : new MessageMeter();
  }

  #meter(meter: Meter, encoding: string | null): void {
    if (meter === NO_METER) return;
    const decoder = createDecoder(encoding, (decoded) => meter.push(decoded));
    if (decoder === undefined) return;
    this.#book.meter = meter;
    this.#decoder = decoder;
  }

  #forward(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#answerBytes += chunk.length;
    this.#book.passed(chunk.length);
    if (this.#answerBytes === this.#answerLength || this.#book.meter.isComplete()) {
      this.#book.record({ kind: this.#isWhole() ? "answered" : "cut" });
    }
    if (this.#sink.write(chunk)) return;
    this.#isClientFull = true;
    controller.pause();
  }

  #resumeUpstream(): void {
    if (!this.#isClientFull && this.#decoding === 0 && !this.#done) this.#controller?.resume();
  }

  #marked(rawHeaders: string[]): string[] {
    rawHeaders.push("x-headroom-call", this.#book.id, "x-headroom-upstream", this.#context.upstreamName);
    return rawHeaders;
  }

  #finish(): void {
    this.#done = true;
    this.#decoder?.close();
    this.#onDone(this);
  }
}
