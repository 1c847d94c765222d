import { findEdgeValues } from "./json-edges.ts";
import { findTopLevelValues, parseValue } from "./json-scan.ts";

/** What a gateway needs of a Messages request; null where the body does not say, or says something else. */
export type RequestHead = {
  model: string | null;
  stream: boolean;
  maxTokens: number | null;
  /** `"fast"` draws on a pool of its own. */
  speed: string | null;
  /** `metadata.user_id`: an opaque id, or Claude Code's JSON text with device, account and session. */
  userId: string | null;
};

const KEYS = ["model", "stream", "max_tokens", "speed", "metadata"] as const;
const MAX_BYTES = 4096;

/** A body that is longer is first looked at where clients write what is wanted here. */
const LONG = 64 * 1024;
const EDGES = { front: 8 * 1024, tail: 32 * 1024 };

/**
 * Reads a Messages request without parsing it. Malformed bodies give nulls: the upstream will say what is wrong. With
 * `isQuick` a long body is read at its two ends where its model stands there, and something may be missed that a client
 * wrote in the midst of its prompt; without it the reading is exact, and right for judging what a caller may do.
 */
export function readRequestHead(body: Buffer, isQuick = false): RequestHead {
  const edges = isQuick && body.length > LONG ? findEdgeValues(body, KEYS, EDGES) : null;
  const found = edges?.has("model") ? edges : findTopLevelValues(body, KEYS);
  const read = (key: (typeof KEYS)[number]) => parseValue(found.get(key), MAX_BYTES);
  const maxTokens = read("max_tokens");
  const metadata = read("metadata");
  const userId = typeof metadata === "object" && metadata !== null && "user_id" in metadata ? metadata.user_id : null;
  return {
    model: nonEmpty(read("model")),
    stream: read("stream") === true,
    maxTokens: typeof maxTokens === "number" && Number.isSafeInteger(maxTokens) && maxTokens >= 0 ? maxTokens : null,
    speed: nonEmpty(read("speed")),
    userId: nonEmpty(userId),
  };
}

function nonEmpty(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
