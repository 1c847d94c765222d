import { poolOf } from "./pools.ts";

/**
 * The `usage` object of a Messages answer. Tokens are kept in columns that do not overlap: `input_tokens` is only what
 * came after the last cache breakpoint, so the prompt is input + cache writes + cache reads.
 */
export type Tokens = {
  inputTokens: number;
  cacheWriteTokens: number;
  cacheWrite5mTokens: number;
  cacheWrite1hTokens: number;
  cacheReadTokens: number;
  outputTokens: number;
};

/** One sampling inside an answer; `model` is null where it is the answer's own. */
export type Iteration = Tokens & { type: string; model: string | null };

export type Usage = Tokens & {
  webSearchRequests: number;
  webFetchRequests: number;
  codeExecutionRequests: number;
  serviceTier: string | null;
  speed: string | null;
  inferenceGeo: string | null;
  /** Null when the answer lists none. Compaction and advisor entries are not in the totals beside them. */
  iterations: readonly Iteration[] | null;
};

export const NO_USAGE: Usage = {
  inputTokens: 0,
  cacheWriteTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  cacheReadTokens: 0,
  outputTokens: 0,
  webSearchRequests: 0,
  webFetchRequests: 0,
  codeExecutionRequests: 0,
  serviceTier: null,
  speed: null,
  inferenceGeo: null,
  iterations: null,
};

const MAX_ITERATIONS = 10_000;
/**
 * Current tokenizers make one token of about 3.2 bytes of English or code. The upstream bills what was produced, so
 * leaving out what nobody counted would lose tokens.
 */
const BYTES_PER_TOKEN = 3.2;
/** Samplings of a model that was to answer itself, and may decline. */
const ATTEMPTS: ReadonlySet<string> = new Set(["message", "fallback_message"]);

/** Output tokens by the bytes of their text: for what came uncounted, as of streams that were cut. */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_TOKEN);
}

/**
 * Takes a `usage` object over what was known before. Counts in a stream are cumulative: they replace, and what an event
 * leaves out or gives as null keeps its value. Anything malformed counts as left out.
 */
export function mergeUsage(before: Usage, value: unknown): Usage {
  if (!isObject(value)) return before;
  const serverToolUse = isObject(value.server_tool_use) ? value.server_tool_use : {};
  return {
    ...mergeTokens(before, value),
    webSearchRequests: count(serverToolUse.web_search_requests) ?? before.webSearchRequests,
    webFetchRequests: count(serverToolUse.web_fetch_requests) ?? before.webFetchRequests,
    codeExecutionRequests: count(serverToolUse.code_execution_requests) ?? before.codeExecutionRequests,
    serviceTier: text(value.service_tier) ?? before.serviceTier,
    speed: text(value.speed) ?? before.speed,
    inferenceGeo: text(value.inference_geo) ?? before.inferenceGeo,
    iterations: parseIterations(value.iterations) ?? before.iterations,
  };
}

/**
 * All tokens of an answer that are billed: these are a record's columns. With iterations it is the sum of those that are
 * billed, because the totals beside them leave out what compaction and advisors used. A call that was refused as a whole
 * keeps the tokens that its usage tells, although nothing of it is charged. What counts against limits is another sum:
 * see `tokensByPool`.
 */
export function billedTokens(usage: Usage): Tokens {
  return usage.iterations === null ? tokensOf(usage) : sumTokens(billedIterations(usage.iterations, false));
}

/**
 * The samplings that are billed. A model that declines before it has produced anything is not, though it counts against
 * its limits. On the wire such an attempt is a `message` of no output that another model's attempt follows, and the last
 * of these, which served the answer, is the `fallback_message`. Where all declined there is none, and the answer ends as
 * a refusal. Any other sampling without output is billed: a prompt may be sent only to be cached.
 */
export function billedIterations(iterations: readonly Iteration[], isRefused: boolean): readonly Iteration[] {
  const served = iterations.findLastIndex(({ type }) => type === "fallback_message");
  return iterations.filter(
    ({ type, outputTokens }, index) => outputTokens > 0 || !ATTEMPTS.has(type) || (index >= served && !isRefused),
  );
}

/**
 * What an answer counted against the limits, by pool: attempts that were declined too, each iteration in the pool of its
 * own model. All else, and the compaction that does not name its model, is of the pool that was asked.
 */
export function tokensByPool(usage: Usage, asked: string): Map<string, Tokens> {
  if (usage.iterations === null) return new Map([[asked, tokensOf(usage)]]);
  const byPool = new Map<string, Iteration[]>([[asked, []]]);
  for (const entry of usage.iterations) {
    const pool = entry.model === null ? asked : poolOf(entry.model).id;
    byPool.set(pool, [...(byPool.get(pool) ?? []), entry]);
  }
  return new Map([...byPool].map(([pool, entries]) => [pool, sumTokens(entries)]));
}

function sumTokens(parts: readonly Tokens[]): Tokens {
  const sum = tokensOf(NO_USAGE);
  for (const part of parts) {
    sum.inputTokens += part.inputTokens;
    sum.cacheWriteTokens += part.cacheWriteTokens;
    sum.cacheWrite5mTokens += part.cacheWrite5mTokens;
    sum.cacheWrite1hTokens += part.cacheWrite1hTokens;
    sum.cacheReadTokens += part.cacheReadTokens;
    sum.outputTokens += part.outputTokens;
  }
  return sum;
}

function tokensOf(tokens: Tokens): Tokens {
  const { inputTokens, cacheWriteTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens } =
    tokens;
  return { inputTokens, cacheWriteTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens };
}

function mergeTokens(before: Tokens, value: Record<string, unknown>): Tokens {
  const write = count(value.cache_creation_input_tokens);
  return {
    inputTokens: count(value.input_tokens) ?? before.inputTokens,
    ...mergeCacheWrites(before, write, isObject(value.cache_creation) ? value.cache_creation : null),
    cacheReadTokens: count(value.cache_read_input_tokens) ?? before.cacheReadTokens,
    outputTokens: count(value.output_tokens) ?? before.outputTokens,
  };
}

/**
 * Writes by time to live. Only `message_start` and plain answers bring the split; a later event may raise the total
 * alone, and then the share that is not known to live an hour lives five minutes, which is the API's default.
 */
function mergeCacheWrites(before: Tokens, total: number | null, split: Record<string, unknown> | null) {
  const split5m = count(split?.ephemeral_5m_input_tokens);
  const split1h = count(split?.ephemeral_1h_input_tokens);
  const known = split5m !== null || split1h !== null;
  const cacheWriteTokens = total ?? (known ? (split5m ?? 0) + (split1h ?? 0) : before.cacheWriteTokens);
  const cacheWrite1hTokens = Math.min(split1h ?? (known ? 0 : before.cacheWrite1hTokens), cacheWriteTokens);
  return { cacheWriteTokens, cacheWrite5mTokens: cacheWriteTokens - cacheWrite1hTokens, cacheWrite1hTokens };
}

function parseIterations(value: unknown): Iteration[] | null {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_ITERATIONS) return null;
  const entries: Iteration[] = [];
  for (const entry of value) {
    if (!isObject(entry)) continue;
    entries.push({ ...mergeTokens(NO_USAGE, entry), type: text(entry.type) ?? "message", model: text(entry.model) });
  }
  return entries;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function count(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value.slice(0, 200) : null;
}
