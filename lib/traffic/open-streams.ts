import { Register } from "../kit/register.ts";
import type { CallShape } from "./estimator.ts";
import { addFlow, type Drain, type Flow, noDrain } from "./horizons.ts";
import type { Ledger } from "./ledger.ts";

const REFRESH_S = 0.1;
/** A stream's own speed counts from two seconds after its first byte on. */
const OWN_SPEED_AFTER_S = 2;
/** Seconds from sending to the first token to expect. */
const FIRST_TOKEN_S = 1;

/** What was sent and has not ended. Tokens of output are as the gateway counted them in passing. */
export type OpenStream = {
  readonly id: number;
  readonly shape: CallShape;
  readonly maxTokens: number;
  readonly sentS: number;
  /** Whether output is seen as it is made. A plain answer's is assumed until it comes. */
  readonly streams: boolean;
  /** Null before the first byte. */
  firstByteS: number | null;
  produced: number;
  /** Output already taken from the level. */
  charged: number;
  /** Kept as it was added to the drain, to be taken out of it again. */
  readonly flow: Flow;
};

/** The streams of one ledger: what they have drained and what they will. */
export class OpenStreams {
  readonly drain: Drain = noDrain();
  /** Output ever produced. */
  made = 0;
  /** Output produced by streams that are still open. */
  open = 0;
  /** What open streams may still produce at most. */
  held = 0;
  readonly #ledger: Ledger;
  readonly #streams = new Register<OpenStream>();
  #refreshedS = Number.NEGATIVE_INFINITY;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  get size(): number {
    return this.#streams.size;
  }

  begin(shape: CallShape, maxTokens: number, streams: boolean, expected: number, nowS: number): OpenStream {
    const flow = { produced: 0, remaining: expected, tokensPerS: shape.tokensPerS, delayS: 0.8 };
    const stream = { id: 0, shape, maxTokens, sentS: nowS, streams, firstByteS: null, produced: 0, charged: 0, flow };
    stream.id = this.#streams.add(stream);
    this.held += maxTokens;
    addFlow(this.drain, flow, this.#ledger.accounting, 1);
    if (this.#ledger.accounting === "reserve") this.#ledger.takeOutput(maxTokens);
    return stream;
  }

  /** Charges what has flowed and forecasts again, at most every 100 ms; with thousands of streams less often. */
  refresh(nowS: number): void {
    if (nowS - this.#refreshedS < Math.max(REFRESH_S, this.#streams.size * 0.0002)) return;
    this.#rebuild(nowS);
  }

  /** The stream has news: it began, or its count changed for good. */
  renew(stream: OpenStream, nowS: number): void {
    addFlow(this.drain, stream.flow, this.#ledger.accounting, -1);
    this.#settle(stream, nowS);
    addFlow(this.drain, stream.flow, this.#ledger.accounting, 1);
  }

  /** The stream is over, having produced `output` in all. */
  end(stream: OpenStream, output: number, nowS: number): void {
    if (!this.#remove(stream)) return;
    const ledger = this.#ledger;
    if (ledger.accounting === "continuous") ledger.takeOutput(output - stream.charged);
    else if (ledger.accounting === "at-end") ledger.takeOutput(output);
    else ledger.takeOutput(output - stream.maxTokens);
    this.made += output - stream.produced;
    this.#empty(nowS);
  }

  /** The upstream refused: nothing was produced, nothing is charged. */
  refuse(stream: OpenStream): void {
    if (!this.#remove(stream)) return;
    const ledger = this.#ledger;
    if (ledger.accounting === "reserve") ledger.takeOutput(-stream.maxTokens);
    else if (ledger.accounting === "continuous") ledger.takeOutput(-stream.charged);
    this.made -= stream.produced;
    this.#empty(stream.sentS);
  }

  /** After the accounting was found to be another: the drain is counted anew, and nothing is charged twice. */
  recount(nowS: number): void {
    this.#rebuild(nowS);
  }

  #remove(stream: OpenStream): boolean {
    if (!this.#streams.delete(stream.id)) return false;
    addFlow(this.drain, stream.flow, this.#ledger.accounting, -1);
    this.open -= stream.produced;
    this.held -= stream.maxTokens - stream.produced;
    return true;
  }

  /** Without streams all sums are zero: what rounding has left goes. */
  #empty(nowS: number): void {
    if (this.#streams.size > 0) return;
    this.drain.fill(0);
    this.open = 0;
    this.held = 0;
    this.#refreshedS = Math.max(this.#refreshedS, nowS);
  }

  #rebuild(nowS: number): void {
    this.#refreshedS = nowS;
    this.drain.fill(0);
    for (const stream of this.#streams.all()) {
      this.#settle(stream, nowS);
      addFlow(this.drain, stream.flow, this.#ledger.accounting, 1);
    }
  }

  /** Charges what the stream has produced since the last time, and looks ahead again. */
  #settle(stream: OpenStream, nowS: number): void {
    const { flow } = stream;
    const sinceSentS = nowS - stream.sentS;
    if (!stream.streams && sinceSentS > FIRST_TOKEN_S) {
      this.progress(stream, flow.tokensPerS * (sinceSentS - FIRST_TOKEN_S));
    }
    if (this.#ledger.accounting === "continuous" && stream.produced !== stream.charged) {
      this.#ledger.takeOutput(stream.produced - stream.charged);
    }
    stream.charged = stream.produced;
    const sinceFirstS = stream.firstByteS === null ? 0 : nowS - stream.firstByteS;
    if (stream.streams && sinceFirstS >= OWN_SPEED_AFTER_S && stream.produced > 0) {
      flow.tokensPerS = Math.max(1, stream.produced / sinceFirstS);
    }
    if (flow.produced !== stream.produced || stream.produced === 0) {
      flow.produced = stream.produced;
      flow.remaining = stream.shape.remainingOutput(stream.produced, stream.maxTokens);
    }
    flow.delayS = stream.firstByteS === null ? Math.max(0, FIRST_TOKEN_S - sinceSentS) : 0;
  }

  /** The stream has produced so much in all. */
  progress(stream: OpenStream, produced: number): void {
    const more = Math.min(produced, stream.maxTokens) - stream.produced;
    if (more <= 0 || !this.#streams.get(stream.id)) return;
    stream.produced += more;
    this.made += more;
    this.open += more;
    this.held -= more;
  }
}
