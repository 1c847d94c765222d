import type { IncomingHttpHeaders } from "node:http";
import { invalidRequest } from "./api-error.ts";
import { FAULTS, type Fault } from "./faults.ts";

/** What a caller may ask of the simulator, call by call, in headers that the real API would ignore. */
export type Wishes = {
  /** The whole prompt, cache reads and writes included. */
  inputTokens: number | null;
  cacheReadTokens: number | null;
  /** With a time to live of five minutes. */
  cacheWriteTokens: number | null;
  outputTokens: number | null;
  stopReason: StopReason | null;
  /** Answer with a call of this tool. */
  tool: string | null;
  fault: Fault | null;
  /** Milliseconds before the first token, instead of the simulator's own. */
  firstTokenMs: number | null;
  tokensPerSecond: number | null;
  /** Encoding of the answer, if the client accepts it. */
  encoding: Encoding | null;
};

export const STOP_REASONS = [
  ...(["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"] as const),
  "model_context_window_exceeded",
] as const;
export type StopReason = (typeof STOP_REASONS)[number];

export const ENCODINGS = ["gzip", "br", "zstd"] as const;
export type Encoding = (typeof ENCODINGS)[number];

export function parseWishes(headers: IncomingHttpHeaders): Wishes {
  return {
    inputTokens: count(headers, "x-simulator-input-tokens"),
    cacheReadTokens: count(headers, "x-simulator-cache-read-tokens"),
    cacheWriteTokens: count(headers, "x-simulator-cache-write-tokens"),
    outputTokens: count(headers, "x-simulator-output-tokens"),
    stopReason: oneOf(headers, "x-simulator-stop-reason", STOP_REASONS),
    tool: text(headers, "x-simulator-tool"),
    fault: oneOf(headers, "x-simulator-fault", FAULTS),
    firstTokenMs: count(headers, "x-simulator-first-token-ms"),
    tokensPerSecond: count(headers, "x-simulator-tokens-per-second", 1),
    encoding: oneOf(headers, "x-simulator-encoding", ENCODINGS),
  };
}

function text(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  return typeof value === "string" ? value : null;
}

function count(headers: IncomingHttpHeaders, name: string, minimum = 0): number | null {
  const value = text(headers, name);
  if (value === null) return null;
  const number = Number(value);
  if (value.trim() !== "" && Number.isSafeInteger(number) && number >= minimum) return number;
  throw invalidRequest(`${name}: must be a whole number from ${minimum} up, but is "${value}"`);
}

function oneOf<Value extends string>(
  headers: IncomingHttpHeaders,
  name: string,
  allowed: readonly Value[],
): Value | null {
  const value = text(headers, name);
  if (value === null) return null;
  const found = allowed.find((option) => option === value);
  if (found !== undefined) return found;
  throw invalidRequest(`${name}: "${value}" is unknown, it must be one of ${allowed.join(", ")}`);
}
