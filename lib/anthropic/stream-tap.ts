import { type ErrorDetail, parseErrorDetail } from "./error-detail.ts";
import { estimateTokens, mergeUsage, NO_USAGE, type Usage } from "./usage.ts";

/**
 * Reads usage from a Messages stream as its chunks pass by (server-sent events, WHATWG HTML 9.2). Of the events only
 * `message_start`, `message_delta`, `message_stop` and `error` are parsed; all others are stepped over line by line.
 * Chunks may be split at any byte and lines may end in LF or CRLF. Memory is bounded: at most one line of an event that
 * matters is held, and a longer one than `MAX_LINE` is given up.
 */
export class StreamTap {
  usage: Usage = NO_USAGE;
  /** Rises with every event that brought usage, so that a reader can tell cheaply whether there is news. */
  revision = 0;
  model: string | null = null;
  stopReason: string | null = null;
  /** From an `error` event, which comes after HTTP 200. */
  error: ErrorDetail | null = null;
  /** `message_stop` has come: the answer is whole. */
  complete = false;
  /** Whether the model produced anything: a refusal before that is not charged. */
  hasContent = false;
  /** Bytes of content since the last event that counted output tokens. */
  uncountedBytes = 0;

  #event = "";
  #data = "";
  /** The rest of the line is only counted, or not even that. */
  #skipping = false;
  #countingSkipped = false;
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** Never throws, whatever the bytes are. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const newline = chunk.indexOf(LF, at);
      if (newline === -1) {
        this.#hold(chunk, at);
        return;
      }
      if (this.#skipping) this.#skip(newline - at);
      else if (this.#heldBytes === 0) this.#line(chunk, at, newline);
      else {
        this.#held.push(chunk.subarray(at, newline));
        const line = this.#takeHeld();
        this.#line(line, 0, line.length);
      }
      this.#skipping = false;
      at = newline + 1;
    }
  }

  /** Usage with an estimate for content that came after the last count: for streams that were cut. */
  estimate(): Usage {
    const extra = estimateTokens(this.uncountedBytes);
    if (extra === 0) return this.usage;
    const { usage } = this;
    const outputTokens = usage.outputTokens + extra;
    if (usage.iterations === null) return { ...usage, outputTokens };
    const unlisted = { ...NO_USAGE, outputTokens: extra, type: "message", model: null };
    return { ...usage, outputTokens, iterations: [...usage.iterations, unlisted] };
  }

  /** The start of a line whose end is in a later chunk. A copy, for a view would keep the whole chunk alive. */
  #hold(chunk: Buffer, from: number): void {
    if (this.#skipping) {
      this.#skip(chunk.length - from);
      return;
    }
    this.#held.push(Buffer.from(chunk.subarray(from)));
    this.#heldBytes += chunk.length - from;
    const first = this.#held[0]?.[0];
    const isData = first === LETTER_D;
    const isContent = isData && this.#event !== "" && !MATTERS.has(this.#event);
    if (
      isContent
        ? this.#heldBytes <= PEEK
        : this.#heldBytes <= MAX_LINE && (isData || first === LETTER_E || first === CR)
    )
      return;
    // Nothing more of this line matters, save how long it is and what shows which kind of delta it brings.
    const start = this.#takeHeld();
    this.#skipping = true;
    this.#countingSkipped = false;
    if (isContent) this.#content(start, 0, start.length);
  }

  #takeHeld(): Buffer {
    const [only] = this.#held;
    const held = this.#held.length === 1 && only ? only : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return held;
  }

  #skip(bytes: number): void {
    if (this.#countingSkipped) this.uncountedBytes += bytes;
  }

  #line(bytes: Buffer, start: number, newline: number): void {
    const end = newline > start && bytes[newline - 1] === CR ? newline - 1 : newline;
    if (end === start) {
      this.#dispatch();
      return;
    }
    const first = bytes[start];
    if (first === LETTER_D && startsWith(bytes, start, end, DATA)) {
      if (this.#event !== "" && !MATTERS.has(this.#event)) this.#content(bytes, start, end);
      else this.#keep(bytes.toString("utf8", valueStart(bytes, start + DATA.length, end), end));
    } else if (first === LETTER_E && startsWith(bytes, start, end, EVENT)) {
      const from = valueStart(bytes, start + EVENT.length, end);
      this.#event = end - from <= MAX_NAME ? bytes.toString("latin1", from, end) : "?";
    }
  }

  #keep(text: string): void {
    if (this.#data.length + text.length > MAX_LINE) return;
    this.#data = this.#data === "" ? text : `${this.#data}\n${text}`;
  }

  /** A data line of an event that is not parsed. Signatures are bytes that no token was produced for. */
  #content(bytes: Buffer, start: number, end: number): void {
    this.#countingSkipped = false;
    if (this.#event === "content_block_start") this.hasContent = true;
    if (this.#event !== "content_block_delta") return;
    this.hasContent = true;
    if (bytes.toString("latin1", start, Math.min(end, start + PEEK)).includes("signature_delta")) return;
    this.#countingSkipped = true;
    this.uncountedBytes += Math.max(end - start - DELTA_FRAME, 0);
  }

  #dispatch(): void {
    const event = this.#event;
    const data = this.#data;
    this.#event = "";
    this.#data = "";
    this.#countingSkipped = false;
    if (data !== "" && (event === "" || MATTERS.has(event))) this.#read(event, data);
  }

  #read(event: string, data: string): void {
    let value: Message;
    try {
      value = JSON.parse(data) ?? {};
    } catch {
      return;
    }
    switch (event || value.type) {
      case "message_start":
        this.model = text(value.message?.model) ?? this.model;
        this.stopReason = text(value.message?.stop_reason) ?? this.stopReason;
        this.#count(value.message?.usage);
        break;
      case "message_delta":
        this.stopReason = text(value.delta?.stop_reason) ?? this.stopReason;
        this.#count(value.usage);
        break;
      case "message_stop":
        this.complete = true;
        break;
      case "error":
        this.error = parseErrorDetail(value);
        break;
      case "content_block_start":
      case "content_block_delta":
        this.hasContent = true;
        break;
    }
  }

  #count(usage: unknown): void {
    const merged = mergeUsage(this.usage, usage);
    if (merged === this.usage) return;
    this.usage = merged;
    this.revision += 1;
    this.uncountedBytes = 0;
  }
}

type Message = {
  type?: unknown;
  message?: { model?: unknown; stop_reason?: unknown; usage?: unknown };
  delta?: { stop_reason?: unknown };
  usage?: unknown;
};

/** What the JSON around the text of one delta takes. */
const DELTA_FRAME = 88;
/** As far into a data line as the delta's type stands. */
const PEEK = 96;
const MAX_LINE = 1_048_576;
const MAX_NAME = 64;

const MATTERS = new Set(["message_start", "message_delta", "message_stop", "error"]);
const LF = 0x0a;
const CR = 0x0d;
const LETTER_D = 0x64;
const LETTER_E = 0x65;
const DATA = Buffer.from("data:");
const EVENT = Buffer.from("event:");

function startsWith(bytes: Buffer, start: number, end: number, prefix: Buffer): boolean {
  if (end - start < prefix.length) return false;
  for (let at = 0; at < prefix.length; at += 1) if (bytes[start + at] !== prefix[at]) return false;
  return true;
}

/** One space after the colon does not belong to the value. */
function valueStart(bytes: Buffer, from: number, end: number): number {
  return from < end && bytes[from] === 0x20 ? from + 1 : from;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value.slice(0, 200) : null;
}
