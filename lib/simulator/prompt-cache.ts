import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import { invalidRequest } from "./api-error.ts";
import type { PromptBlock } from "./prompt-tokens.ts";

/** A prompt's tokens in the columns that `usage` has for them. */
export type PromptUsage = { inputTokens: number; cacheWrite5m: number; cacheWrite1h: number; cacheRead: number };

/** What a call found in the cache, and what it leaves there once its answer begins. */
export type CacheLookup = PromptUsage & { commit(nowMs: number): void };

type Entry = { expiresAtMs: number; ttlMs: number };

const FIVE_MINUTES_MS = 300_000;
const ONE_HOUR_MS = 3_600_000;
/** How many blocks before a breakpoint are compared with what was cached earlier. */
const LOOKBACK_BLOCKS = 20;
const MAX_BREAKPOINTS = 4;

/**
 * Anthropic's prompt cache: prefixes up to a breakpoint, per organisation, model and speed. Reading extends an entry's
 * life. Everything from the longest hit to a later breakpoint is written with that breakpoint's time to live.
 * https://platform.claude.com/docs/en/build-with-claude/prompt-caching
 */
export class PromptCache {
  #entries = new LRUCache<string, Entry>({ max: 50_000 });

  /** `scope` keeps models and speeds apart. Throws ApiError for breakpoints that the API refuses. */
  lookUp(blocks: readonly PromptBlock[], scope: string, minTokens: number, nowMs: number): CacheLookup {
    const total = blocks.reduce((sum, block) => sum + block.tokens, 0);
    const breakpoints = blocks.flatMap((block, index) =>
      block.cacheControl ? [{ index, ttlMs: block.cacheControl.ttl === "1h" ? ONE_HOUR_MS : FIVE_MINUTES_MS }] : [],
    );
    if (breakpoints.length === 0) return { ...uncached(total), commit: () => {} };
    checkBreakpoints(breakpoints);
    const prefixes = prefixesOf(blocks.slice(0, (breakpoints.at(-1)?.index ?? 0) + 1), scope);
    const hit = this.#longestHit(prefixes, breakpoints, minTokens, nowMs);
    const usage: PromptUsage = { ...uncached(total), cacheRead: hit === null ? 0 : (prefixes[hit]?.tokens ?? 0) };
    const writes: { key: string; ttlMs: number }[] = [];
    let covered = usage.cacheRead;
    for (const { index, ttlMs } of breakpoints) {
      const prefix = prefixes[index];
      if (!prefix || prefix.tokens < minTokens) continue;
      // Breakpoints inside the hit are refreshed by it; they cost nothing.
      writes.push({ key: prefix.key, ttlMs });
      const added = Math.max(0, prefix.tokens - covered);
      usage[ttlMs === ONE_HOUR_MS ? "cacheWrite1h" : "cacheWrite5m"] += added;
      covered += added;
    }
    usage.inputTokens = total - covered;
    const hitKey = hit === null ? null : (prefixes[hit]?.key ?? null);
    return {
      ...usage,
      commit: (atMs) => {
        if (hitKey !== null) this.#refresh(hitKey, atMs);
        for (const { key, ttlMs } of writes) this.#write(key, ttlMs, atMs);
      },
    };
  }

  #longestHit(
    prefixes: readonly Prefix[],
    breakpoints: readonly { index: number }[],
    minTokens: number,
    nowMs: number,
  ): number | null {
    for (const breakpoint of breakpoints.toReversed()) {
      const oldest = Math.max(0, breakpoint.index - LOOKBACK_BLOCKS);
      for (let index = breakpoint.index; index >= oldest; index -= 1) {
        const prefix = prefixes[index];
        if (!prefix || prefix.tokens < minTokens) break;
        const entry = this.#entries.get(prefix.key);
        if (entry && entry.expiresAtMs > nowMs) return index;
      }
    }
    return null;
  }

  #refresh(key: string, nowMs: number): void {
    const entry = this.#entries.get(key);
    if (entry) entry.expiresAtMs = Math.max(entry.expiresAtMs, nowMs + entry.ttlMs);
  }

  #write(key: string, ttlMs: number, nowMs: number): void {
    const entry = this.#entries.get(key);
    const kept = entry && entry.expiresAtMs > nowMs ? entry : null;
    this.#entries.set(key, {
      expiresAtMs: Math.max(kept?.expiresAtMs ?? 0, nowMs + ttlMs),
      ttlMs: Math.max(kept?.ttlMs ?? 0, ttlMs),
    });
  }
}

type Prefix = { key: string; tokens: number };

/** A rolling hash: the key of each prefix is made of the one before it and one block. */
function prefixesOf(blocks: readonly PromptBlock[], scope: string): Prefix[] {
  let key = scope;
  let tokens = 0;
  return blocks.map((block) => {
    key = createHash("sha1").update(key).update("\n").update(block.identity()).digest("base64");
    tokens += block.tokens;
    return { key, tokens };
  });
}

function uncached(total: number): PromptUsage {
  return { inputTokens: total, cacheWrite5m: 0, cacheWrite1h: 0, cacheRead: 0 };
}

function checkBreakpoints(breakpoints: readonly { ttlMs: number }[]): void {
  if (breakpoints.length > MAX_BREAKPOINTS) {
    throw invalidRequest(
      `A maximum of ${MAX_BREAKPOINTS} blocks with cache_control may be provided. Found ${breakpoints.length}.`,
    );
  }
  const firstShort = breakpoints.findIndex((breakpoint) => breakpoint.ttlMs === FIVE_MINUTES_MS);
  if (firstShort >= 0 && breakpoints.slice(firstShort).some((breakpoint) => breakpoint.ttlMs === ONE_HOUR_MS)) {
    throw invalidRequest(
      "A ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
    );
  }
}
