import type { Lane } from "../anthropic/pools.ts";
import type { PromptUsage } from "./prompt-cache.ts";
import type { Tally } from "./turns.ts";

export type LedgerUsage = {
  inputTokens: number;
  cacheWrite5m: number;
  cacheWrite1h: number;
  cacheRead: number;
  output: number;
};

/** One sampling of an answer that lists its iterations. */
export type LedgerIteration = { type: string; model: string; usage: LedgerUsage; billed: boolean };

/** What an entry stands for: a call, one request of a batch, or one sampling in a session of an agent. */
export type LedgerOrigin =
  | { kind: "call" }
  | { kind: "batch"; batchId: string; customId: string }
  | { kind: "session"; sessionId: string };

/** One call as the upstream's own books have it. */
export type LedgerEntry = {
  /** 1, 2, 3 … in the order in which calls ended. */
  sequence: number;
  origin: LedgerOrigin;
  /** Empty for what is no call. */
  requestId: string;
  /** When it arrived, in the simulator's time, ISO 8601. */
  at: string;
  method: string;
  /** The path without its query. */
  endpoint: string;
  model: string | null;
  pool: string | null;
  lane: Lane | null;
  /** What was answered; 499 when the client left before the headers, 0 when the connection was reset. */
  status: number;
  errorType: string | null;
  errorCode: string | null;
  stopReason: string | null;
  /**
   * All tokens that are billed, those of iterations that no total has included; of a call that is not billed, what it
   * counts against the limits; of a call that was not served, zeros.
   */
  usage: LedgerUsage;
  /** Null where the answer lists none. */
  iterations: LedgerIteration[] | null;
  webSearchRequests: number;
  /** `batch` is billed at half the price. Null for what no model answered. */
  serviceTier: "standard" | "priority" | "batch" | null;
  speed: "standard" | "fast" | null;
  inferenceGeo: string | null;
  /** False for what costs no money though it has usage: a refusal before any output. */
  billed: boolean;
  streamed: boolean;
  /** The client hung up before the answer was whole. */
  clientGone: boolean;
  /** The fault that was switched on for it. */
  fault: string | null;
  /** The file that went up or down with the call: its bytes and their SHA-256, hex. */
  transfer: { bytes: number; sha256: string } | null;
  /** Every `anthropic-ratelimit-*`, `-fast-*`, `-priority-*`, `x-ratelimit-*` and `retry-after` header, as sent. */
  rateLimitHeaders: Record<string, string>;
};

export type LedgerSums = {
  calls: number;
  /** Calls by status, as `"200"`. */
  byStatus: Record<string, number>;
  /** Of all entries that were billed, whatever their origin. */
  usage: LedgerUsage;
  webSearchRequests: number;
  unbilledCalls: number;
  /** What of it were requests of batches, and samplings in sessions. */
  batch: { entries: number; usage: LedgerUsage };
  session: { entries: number; usage: LedgerUsage };
};

/** What the ledger does not learn of every entry. */
export const UNANSWERED = {
  model: null,
  pool: null,
  lane: null,
  errorType: null,
  errorCode: null,
  stopReason: null,
  iterations: null,
  webSearchRequests: 0,
  serviceTier: null,
  speed: null,
  inferenceGeo: null,
  streamed: false,
  clientGone: false,
  fault: null,
  transfer: null,
  rateLimitHeaders: {},
} satisfies Partial<LedgerEntry>;

export const NO_USAGE: Readonly<LedgerUsage> = {
  inputTokens: 0,
  cacheWrite5m: 0,
  cacheWrite1h: 0,
  cacheRead: 0,
  output: 0,
};

/** Every call the simulator has ended, newest last. Sums cover all of them, entries only the last `capacity`. */
export class Ledger {
  #capacity: number;
  #entries: LedgerEntry[] = [];
  #sequence = 0;
  #sums: LedgerSums = emptySums();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get entries(): readonly LedgerEntry[] {
    this.#trim(0);
    return this.#entries;
  }

  get sums(): LedgerSums {
    return structuredClone(this.#sums);
  }

  record(entry: Omit<LedgerEntry, "sequence">): void {
    const sums = this.#sums;
    const { kind } = entry.origin;
    this.#sequence += 1;
    if (kind === "call") {
      sums.calls += 1;
      sums.byStatus[entry.status] = (sums.byStatus[entry.status] ?? 0) + 1;
      if (!entry.billed) sums.unbilledCalls += 1;
    } else {
      sums[kind].entries += 1;
      if (entry.billed) addUsage(sums[kind].usage, entry.usage);
    }
    if (entry.billed) {
      addUsage(sums.usage, entry.usage);
      sums.webSearchRequests += entry.webSearchRequests;
    }
    if (this.#capacity === 0) return;
    this.#entries.push({ ...entry, sequence: this.#sequence });
    this.#trim(this.#capacity);
  }

  clear(): void {
    this.#entries = [];
    this.#sums = emptySums();
  }

  /** Old entries go in one cut, when as many again as are kept have gathered. */
  #trim(slack: number): void {
    const surplus = this.#entries.length - this.#capacity;
    if (surplus > slack) this.#entries.splice(0, surplus);
  }
}

export function toLedgerUsage(usage: PromptUsage & { outputTokens: number }): LedgerUsage {
  const { inputTokens, cacheWrite5m, cacheWrite1h, cacheRead, outputTokens } = usage;
  return { inputTokens, cacheWrite5m, cacheWrite1h, cacheRead, output: outputTokens };
}

export function toLedgerIterations(tally: Tally): LedgerIteration[] {
  return tally.turns.map((turn) => {
    const { type, model, billed } = turn;
    return { type, model, billed, usage: toLedgerUsage(turn) };
  });
}

function addUsage(sum: LedgerUsage, usage: LedgerUsage): void {
  sum.inputTokens += usage.inputTokens;
  sum.cacheWrite5m += usage.cacheWrite5m;
  sum.cacheWrite1h += usage.cacheWrite1h;
  sum.cacheRead += usage.cacheRead;
  sum.output += usage.output;
}

function emptySums(): LedgerSums {
  const none = () => ({ entries: 0, usage: { ...NO_USAGE } });
  return {
    calls: 0,
    byStatus: {},
    usage: { ...NO_USAGE },
    webSearchRequests: 0,
    unbilledCalls: 0,
    batch: none(),
    session: none(),
  };
}
