import { createHash } from "node:crypto";
import { z } from "zod";
import { MAX_RESPONSE_CACHE_S } from "../access/schema.ts";
import { findTopLevelValues, parseValue } from "../anthropic/json-scan.ts";
import type { CollectedBody } from "./collected-body.ts";
import type { RequestHeaders } from "./request-headers.ts";

const KEYS = ["temperature", "tools", "mcp_servers", "container"] as const;

/**
 * What a body must say for its answer to be good a second time: sampling that does not roll dice, and tools that the
 * caller runs. Those of the server search, fetch and compute anew each time. A tool without a type is a custom one.
 */
const Deterministic = z.object({
  temperature: z.literal(0),
  tools: z.array(z.object({ type: z.literal("custom").nullish() })).nullish(),
  mcp_servers: z.array(z.never()).nullish(),
  container: z.null().optional(),
});

/** An image or document that the API fetches may be another the next time. Within a string the quotes are escaped. */
const FETCHED = /"type"\s*:\s*"url"/;

/**
 * For how many seconds a call's answer may be kept, and how old an answer it may be given; null where it wants neither.
 * `x-headroom-cache` goes before the agent's setting, and what is neither seconds nor "off" is passed over.
 */
export function cacheLifetimeS(asked: string | null, settingS: number | null): number | null {
  const text = asked?.trim().toLowerCase() ?? "";
  if (text === "off") return null;
  if (!/^\d{1,9}$/.test(text)) return settingS;
  const seconds = Math.min(Number(text), MAX_RESPONSE_CACHE_S);
  return seconds === 0 ? null : seconds;
}

/** Reads only what decides; a body that does not parse the upstream refuses, and refusals are not kept. */
export function isDeterministic(body: CollectedBody): boolean {
  const whole = body.whole();
  if (FETCHED.test(whole.toString("latin1"))) return false;
  const found = findTopLevelValues(whole, KEYS);
  const values = [...found].map(([key, json]): [string, unknown] => {
    const value = parseValue(json);
    return [key, value === undefined ? "unreadable" : value];
  });
  return Deterministic.safeParse(Object.fromEntries(values)).success;
}

export type CallIdentity = {
  /** Null where the caller's own credential went through. */
  agentKeyId: string | null;
  target: string;
  headers: RequestHeaders;
  body: CollectedBody;
};

/**
 * A digest of all that an answer depends on and of who may see it, so that nobody is ever given an answer that was made
 * with another credential. The credential itself is only digested.
 */
export function cacheKey({ agentKeyId, target, headers, body }: CallIdentity): string {
  const owner = agentKeyId === null ? ["credential", ...named(headers.credentials, () => true)] : ["agent", agentKeyId];
  const shaping = named(headers.forwarded, (name) => SHAPING.test(name));
  // JSON says where each part ends: no two calls are spelt alike.
  const digest = createHash("sha256").update(JSON.stringify(["POST", owner, target, shaping]));
  for (const chunk of body.chunks) digest.update(chunk);
  return digest.digest("base64url");
}

/** Version and betas change what is answered, encodings how; a cookie may be a credential before some upstream. */
const SHAPING = /^(?:anthropic-.+|accept-encoding|cookie)$/;

/** Header fields by lower-case name, names and values in turn, in their order. */
function named(rawHeaders: readonly string[], isWanted: (name: string) => boolean): string[] {
  const found: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? "").toLowerCase();
    if (isWanted(name)) found.push(name, rawHeaders[at + 1] ?? "");
  }
  return found;
}
