import type { IncomingHttpHeaders } from "node:http";
import { invalidRequest } from "./api-error.ts";
import { FAULTS, type Fault } from "./faults.ts";
import { findModel, type SimulatedModel } from "./models.ts";

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
  /** Searches of the server tool `web_search` on the way to the answer. */
  webSearches: number | null;
  /** Samplings of other kinds that come with the answer; then `usage.iterations` lists all. */
  iterations: IterationWish[] | null;
};

/**
 * `compaction`, `advisor=MODEL` or `fallback=MODEL`, each with `:INPUT/OUTPUT` tokens of its own or without. Those of a
 * fallback are of the model that declined in its favour.
 */
export type IterationWish = {
  kind: "compaction" | "advisor" | "fallback";
  model: SimulatedModel | null;
  inputTokens: number | null;
  outputTokens: number | null;
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
    webSearches: count(headers, "x-simulator-web-searches"),
    iterations: iterations(headers, "x-simulator-iterations"),
  };
}

function iterations(headers: IncomingHttpHeaders, name: string): IterationWish[] | null {
  const value = text(headers, name);
  if (value === null) return null;
  return value
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const match = /^(compaction|advisor|fallback)(?:=([\w.-]+))?(?::(\d+)\/(\d+))?$/.exec(part.trim());
      const kind = (["compaction", "advisor", "fallback"] as const).find((entry) => entry === match?.[1]);
      const model = match?.[2] === undefined ? null : findModel(match[2]);
      if (!match || !kind || (kind === "compaction") !== (match[2] === undefined) || (match[2] && !model)) {
        throw invalidRequest(
          `${name}: "${part.trim()}" must be compaction, advisor=MODEL or fallback=MODEL, and may end in :INPUT/OUTPUT tokens`,
        );
      }
      const tokens = (digits: string | undefined) => (digits === undefined ? null : Number(digits));
      return { kind, model, inputTokens: tokens(match[3]), outputTokens: tokens(match[4]) };
    });
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
