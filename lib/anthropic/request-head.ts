import { findEdgeValues } from "./json-edges.ts";
import { findTopLevelValues, parseValue } from "./json-scan.ts";

/** What a gateway needs of a model's request; null where the body does not say, or says something else. */
export type RequestHead = {
  model: string | null;
  stream: boolean;
  /** How long the answer may get, by the name that its endpoint has for it. */
  maxTokens: number | null;
  /** `"fast"` draws on a pool of its own. */
  speed: string | null;
  /** `metadata.user_id`: an opaque id, or Claude Code's JSON text with device, account and session. */
  userId: string | null;
};

/** Of Messages, of `/v1/chat/completions`, which takes both, and of `/v1/complete`. */
const BOUNDS = ["max_tokens", "max_completion_tokens", "max_tokens_to_sample"] as const;
const KEYS = ["model", "stream", ...BOUNDS, "speed", "metadata"] as const;
const MAX_BYTES = 4096;

/** A body that may be in pieces. */
export type LongText = {
  readonly length: number;
  whole(): Buffer;
  front(bytes: number): Buffer;
  tail(bytes: number): Buffer;
};

/** A body that is longer is first looked at where clients write what is wanted here. */
const LONG_BYTES = 64 * 1024;
const FRONT_BYTES = 8 * 1024;
const TAIL_BYTES = 32 * 1024;

/**
 * Reads a request without parsing it, and exactly: this is for judging what a caller may do. Malformed bodies
 * give nulls: the upstream will say what is wrong.
 */
export function readRequestHead(body: Buffer): RequestHead {
  return toHead(findTopLevelValues(body, KEYS));
}

/**
 * The same for the books. A long body is read at its two ends where its model stands there, and something may be missed
 * that a client wrote in the midst of its prompt.
 */
export function readRequestHeadQuickly(body: LongText): RequestHead {
  if (body.length > LONG_BYTES) {
    const found = findEdgeValues(body.front(FRONT_BYTES), body.tail(TAIL_BYTES), KEYS);
    if (found.has("model")) return toHead(found);
  }
  return readRequestHead(body.whole());
}

function toHead(found: ReadonlyMap<(typeof KEYS)[number], Buffer>): RequestHead {
  const read = (key: (typeof KEYS)[number]) => parseValue(found.get(key), MAX_BYTES);
  const metadata = read("metadata");
  const userId = typeof metadata === "object" && metadata !== null && "user_id" in metadata ? metadata.user_id : null;
  return {
    model: nonEmpty(read("model")),
    stream: read("stream") === true,
    maxTokens: largestOf(BOUNDS.map(read)),
    speed: nonEmpty(read("speed")),
    userId: nonEmpty(userId),
  };
}

/**
 * Of several bounds the largest: which of them an endpoint obeys is its own affair, and so is what it makes of one that
 * is no number. Null where nothing bounds the answer for sure.
 */
function largestOf(bounds: readonly unknown[]): number | null {
  let largest: number | null = null;
  for (const bound of bounds) {
    if (bound === undefined || bound === null) continue;
    if (typeof bound !== "number" || !Number.isSafeInteger(bound) || bound < 0) return null;
    largest = Math.max(largest ?? 0, bound);
  }
  return largest;
}

function nonEmpty(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
