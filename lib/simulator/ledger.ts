import type { Lane } from "../anthropic/pools.ts";

export type LedgerUsage = {
  inputTokens: number;
  cacheWrite5m: number;
  cacheWrite1h: number;
  cacheRead: number;
  output: number;
};

/** One call as the upstream's own books have it. */
export type LedgerEntry = {
  /** 1, 2, 3 … in the order in which calls ended. */
  sequence: number;
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
  /** What counts against the limits; of a call that was not served, zeros. */
  usage: LedgerUsage;
  /** False for what costs no money though it has usage: a refusal before any output. */
  billed: boolean;
  streamed: boolean;
  /** The client hung up before the answer was whole. */
  clientGone: boolean;
  /** The fault that was switched on for it. */
  fault: string | null;
  /** Every `anthropic-ratelimit-*`, `anthropic-fast-*`, `anthropic-priority-*` and `retry-after` header, as sent. */
  rateLimitHeaders: Record<string, string>;
};

export type LedgerSums = {
  calls: number;
  /** Calls by status, as `"200"`. */
  byStatus: Record<string, number>;
  /** Of all entries that were billed. */
  usage: LedgerUsage;
  unbilledCalls: number;
};

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
    this.#sequence += 1;
    this.#sums.calls += 1;
    this.#sums.byStatus[entry.status] = (this.#sums.byStatus[entry.status] ?? 0) + 1;
    if (entry.billed) {
      for (const key of Object.keys(NO_USAGE) as (keyof LedgerUsage)[]) this.#sums.usage[key] += entry.usage[key];
    } else {
      this.#sums.unbilledCalls += 1;
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

function emptySums(): LedgerSums {
  return { calls: 0, byStatus: {}, usage: { ...NO_USAGE }, unbilledCalls: 0 };
}
