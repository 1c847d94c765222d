import { LRUCache } from "lru-cache";
import { getPool, type Limiter } from "../anthropic/pools.ts";
import type { Clock } from "../kit/clock.ts";
import { Register } from "../kit/register.ts";
import { type Place, poolKey } from "../limits/place.ts";
import type { CallRecord, TokenCounts } from "./schema.ts";
import { FIELDS, type Field, SecondRing, type SeriesField } from "./second-ring.ts";

export type PromptTokens = Pick<TokenCounts, "inputTokens" | "cacheWriteTokens" | "cacheReadTokens">;

/** What the gateway tells of one call while it runs. */
export type OpenCall = {
  /** The prompt's tokens are known: from `message_start`, or with a plain answer. The last word wins. */
  prompt(tokens: PromptTokens): void;
  /** Bytes of a streamed answer passed by: the measure of output that is not counted yet. */
  progress(bytes: number): void;
  /** Output tokens as far as bytes tell: what has passed by, at the pool's usual bytes a token. */
  produced(): number;
  /** The call was refused here and goes elsewhere: what it was counted for is taken back. */
  leave(): void;
  /** The call has ended; the record holds the exact counts. */
  close(call: CallRecord): void;
};
export type CallPlace = Place & { agent: string };

export type SecondUse = Record<Field, number>;

/** A second of use that is already in the database, to warm the rings after a restart. */
export type PastSecond = Place & { second: number; agent: string } & Record<
    "requests" | "inputTokens" | "cacheWriteTokens" | "cacheReadTokens" | "outputTokens" | "refusedCalls",
    number
  >;

export const WINDOW_SECONDS = 960;
const AGENT_SECONDS = 64;
const MAX_AGENT_RINGS = 5_000;
const MAX_POOLS = 256;
const FIRST_BYTES_PER_TOKEN = 40;

type Open = {
  id: number;
  agent: AgentUse;
  second: number;
  prompt: PromptTokens | null;
  /** Bytes of the answer by second: [second, bytes, second, bytes, …]. */
  bytes: number[];
  total: number;
};
type AgentUse = { agent: string; key: string; ring: SecondRing };
type PoolUse = Place & {
  key: string;
  ring: SecondRing;
  bytesPerToken: number;
  open: Register<Open>;
  lastSecond: number;
};

/**
 * Use per second of every pool and agent, in memory: the live view, the sliding minute and the alert rules read it.
 * Requests and prompts count in the second in which the call was sent, as the upstream's buckets do; output counts in
 * the seconds in which it was produced. While a stream is open its output is estimated from the bytes that passed, and
 * replaced by the exact count when it ends.
 */
export class LiveUsage {
  readonly #clock: Clock;
  /** Bounded, because a caller can name models that do not exist. */
  readonly #pools = new LRUCache<string, PoolUse>({ max: MAX_POOLS });
  readonly #agents = new LRUCache<string, AgentUse>({ max: MAX_AGENT_RINGS });

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  /** A call has been sent upstream. Close it whatever becomes of it. */
  open(place: CallPlace): OpenCall {
    const pool = this.#pool(place);
    // Looked up once a call: a ring that is let go while the call runs takes counts that nobody asks for any more.
    const agent = this.#agent(pool, place.agent);
    const open: Open = { id: 0, agent, second: this.#second(), prompt: null, bytes: [], total: 0 };
    open.id = pool.open.add(open);
    pool.lastSecond = open.second;
    count(pool, agent, open.second, "requests", 1);
    return {
      prompt: (tokens) => this.#prompt(pool, open, tokens),
      progress: (bytes) => {
        const second = this.#second();
        open.total += bytes;
        const last = open.bytes.length - 2;
        if (open.bytes[last] === second) open.bytes[last + 1] = (open.bytes[last + 1] ?? 0) + bytes;
        else open.bytes.push(second, bytes);
      },
      produced: () => open.total / pool.bytesPerToken,
      leave: () => {
        if (pool.open.delete(open.id)) count(pool, agent, open.second, "requests", -1);
      },
      close: (call) => this.#close(pool, open, call),
    };
  }

  /** Adds use that happened before this process started. */
  warm(past: readonly PastSecond[]): void {
    for (const second of past) {
      const pool = this.#pool(second);
      const amounts: SecondUse = {
        requests: second.requests,
        input: second.inputTokens,
        cacheWrite: second.cacheWriteTokens,
        cacheRead: second.cacheReadTokens,
        output: second.outputTokens,
        refused: second.refusedCalls,
      };
      const agent = this.#agent(pool, second.agent);
      for (const field of FIELDS) count(pool, agent, second.second, field, amounts[field]);
      pool.lastSecond = Math.max(pool.lastSecond, second.second);
    }
  }

  pools(): (Place & { key: string; openCalls: number; lastSecond: number })[] {
    return [...this.#pools.entries()].map(([key, pool]) => ({
      key,
      upstream: pool.upstream,
      pool: pool.pool,
      lane: pool.lane,
      openCalls: pool.open.size,
      lastSecond: pool.lastSecond,
    }));
  }

  get openCalls(): number {
    let count = 0;
    for (const pool of this.#pools.values()) count += pool.open.size;
    return count;
  }

  /** Use counted against a limiter in `from` < second ≤ `to`, output of open streams included as estimated. */
  used(key: string, limiter: Limiter, from: number, to: number): number {
    const pool = this.#pools.get(key);
    if (!pool) return 0;
    const ofRing = (field: Field) => pool.ring.sum(field, from, to);
    if (limiter === "requests") return ofRing("requests");
    const output = limiter === "input_tokens" ? 0 : ofRing("output") + this.#estimated(pool, from, to);
    const input =
      limiter === "output_tokens" ? 0 : ofRing("input") + ofRing("cacheWrite") + this.#reads(pool, from, to);
    return input + output;
  }

  /** The series of one pool for `from` ≤ second ≤ `to`. */
  series(key: string, from: number, to: number): { start: number } & Record<SeriesField, number[]> {
    const pool = this.#pools.get(key);
    const of = (field: SeriesField) =>
      Array.from({ length: to - from + 1 }, (_, index) => pool?.ring.at(from + index, field) ?? 0);
    const series = {
      start: from,
      requests: of("requests"),
      input: of("input"),
      cacheWrite: of("cacheWrite"),
      cacheRead: of("cacheRead"),
      output: of("output"),
    };
    if (pool) {
      for (const open of pool.open.all()) {
        eachPair(open.bytes, (second, bytes) => {
          const index = second - from;
          if (index >= 0 && index < series.output.length) {
            series.output[index] = (series.output[index] ?? 0) + bytes / pool.bytesPerToken;
          }
        });
      }
    }
    return series;
  }

  /** What each agent used in each pool during the last minute. Agents without use are left out. */
  agents(): { agent: string; key: string; use: SecondUse }[] {
    const to = this.#second();
    const found = [];
    for (const entry of this.#agents.values()) {
      const use = { requests: 0, input: 0, cacheWrite: 0, cacheRead: 0, output: 0, refused: 0 };
      for (const field of FIELDS) use[field] = entry.ring.sum(field, to - 60, to);
      if (FIELDS.some((field) => use[field] > 0)) found.push({ agent: entry.agent, key: entry.key, use });
    }
    return found;
  }

  #prompt(pool: PoolUse, open: Open, tokens: PromptTokens): void {
    const before = open.prompt;
    open.prompt = tokens;
    const change = (field: Field, after: number, prior = 0) => {
      if (after !== prior) count(pool, open.agent, open.second, field, after - prior);
    };
    change("input", tokens.inputTokens, before?.inputTokens);
    change("cacheWrite", tokens.cacheWriteTokens, before?.cacheWriteTokens);
    change("cacheRead", tokens.cacheReadTokens, before?.cacheReadTokens);
  }

  #close(pool: PoolUse, open: Open, call: CallRecord): void {
    if (!pool.open.delete(open.id)) return;
    this.#prompt(pool, open, call);
    if (call.outcome === "refused") count(pool, open.agent, open.second, "refused", 1);
    if (call.outputTokens === 0) return;
    let bytes = 0;
    eachPair(open.bytes, (_, count) => {
      bytes += count;
    });
    if (bytes > 0) {
      eachPair(open.bytes, (second, part) =>
        count(pool, open.agent, second, "output", (call.outputTokens * part) / bytes),
      );
      if (call.outcome === "succeeded") pool.bytesPerToken += 0.1 * (bytes / call.outputTokens - pool.bytesPerToken);
      return;
    }
    // A plain answer tells only its sum: it was produced evenly, as far as anyone can know.
    const last = Math.max(open.second, this.#second());
    const seconds = Math.min(last - open.second + 1, WINDOW_SECONDS);
    for (let second = last - seconds + 1; second <= last; second++) {
      count(pool, open.agent, second, "output", call.outputTokens / seconds);
    }
  }

  #reads(pool: PoolUse, from: number, to: number): number {
    return getPool(pool.pool).cacheReadsCount ? pool.ring.sum("cacheRead", from, to) : 0;
  }

  #estimated(pool: PoolUse, from: number, to: number): number {
    let bytes = 0;
    for (const open of pool.open.all()) {
      eachPair(open.bytes, (second, count) => {
        if (second > from && second <= to) bytes += count;
      });
    }
    return bytes / pool.bytesPerToken;
  }

  #agent(pool: PoolUse, agent: string): AgentUse {
    const id = `${agent}\n${pool.key}`;
    const found = this.#agents.get(id);
    if (found) return found;
    const made: AgentUse = { agent, key: pool.key, ring: new SecondRing(AGENT_SECONDS) };
    this.#agents.set(id, made);
    return made;
  }

  #pool(place: Place): PoolUse {
    const key = poolKey(place);
    const found = this.#pools.get(key);
    if (found) return found;
    const { upstream, pool, lane } = place;
    const made: PoolUse = {
      key,
      upstream,
      pool,
      lane,
      ring: new SecondRing(WINDOW_SECONDS + 64),
      bytesPerToken: FIRST_BYTES_PER_TOKEN,
      open: new Register(),
      lastSecond: 0,
    };
    this.#pools.set(key, made);
    return made;
  }

  #second(): number {
    return Math.floor(this.#clock.now() / 1000);
  }
}

function count(pool: PoolUse, agent: AgentUse, second: number, field: Field, amount: number): void {
  if (amount === 0) return;
  pool.ring.add(second, field, amount);
  agent.ring.add(second, field, amount);
}

function eachPair(pairs: readonly number[], visit: (second: number, bytes: number) => void): void {
  for (let index = 0; index < pairs.length; index += 2) visit(pairs[index] ?? 0, pairs[index + 1] ?? 0);
}
