import { findPrice, type ModelPrice, type Rates } from "../anthropic/price-list.ts";
import type { RequestHead } from "../anthropic/request-head.ts";
import type { NanoUsd } from "../kit/money.ts";

/** The most that a call is expected to use. */
export type CallEstimate = {
  inputTokens: number;
  maxOutputTokens: number;
  /** Null when the model has no known price. */
  worstCaseNanoUsd: NanoUsd | null;
};

/** Prose and code have three to four bytes a token, many languages and numbers fewer; only noise has less than two. */
const BYTES_PER_TOKEN = 2;
/** What the API adds around a prompt, tools above all. */
const OVERHEAD_TOKENS = 1_024;
/** The largest image costs this much. */
const IMAGE_TOKENS = 5_000;
/** No model takes a longer prompt. */
const CONTEXT_TOKENS = 1_000_000;
/** No model gives a longer answer (some stop at 64,000): what a call may bring that names no bound of its own. */
const ANSWER_TOKENS = 128_000;
/** A search tool without a bound of its own: as many searches as a long answer makes, at $0.01. */
const SEARCHES_NANO_USD = 10 * 10_000_000;

/**
 * Bounds what a call can use and cost, by its size, how long its answer may get and the dearest rates that may apply: any
 * prompt token may be a cache write where the body speaks of caching, and any call may run in the US. What a body only
 * points at (a document by address or file id, a thread, what server tools fetch) has no bound that is of use; such a
 * call may end above its estimate, is counted as it ended, and holds the next one back.
 */
export function estimateCall(body: Buffer, head: RequestHead, atMs: number): CallEstimate {
  const inputTokens = boundInput(body);
  const maxOutputTokens = head.maxTokens ?? ANSWER_TOKENS;
  const price = head.model === null ? null : findPrice(head.model, atMs);
  if (price === null) return { inputTokens, maxOutputTokens, worstCaseNanoUsd: null };
  const { input, output } = dearest(price, head.speed, cacheKind(body));
  const tokens = inputTokens * input + maxOutputTokens * output;
  const searches = body.includes('"web_search_2') ? SEARCHES_NANO_USD : 0;
  const worstCaseNanoUsd = Math.ceil((tokens * (price.hasGeographySurcharge ? 11 : 10)) / 10) + searches;
  return { inputTokens, maxOutputTokens, worstCaseNanoUsd };
}

function boundInput(body: Buffer): number {
  const images = findImages(body);
  const elsewhere = countOf(body, '"type":"url"') + countOf(body, '"type": "url"') + countOf(body, '"file_id"');
  // In OpenAI's shape, where an image is always named twice.
  const linked = Math.ceil(countOf(body, '"image_url"') / 2);
  const text = Math.ceil((body.length - images.bytes) / BYTES_PER_TOKEN);
  return Math.min(text + (images.count + elsewhere + linked) * IMAGE_TOKENS + OVERHEAD_TOKENS, CONTEXT_TOKENS);
}

/** Images in the body: a megabyte of one says nothing about tokens. Written as the SDKs write them, type first. */
function findImages(body: Buffer): { count: number; bytes: number } {
  const found = { count: 0, bytes: 0 };
  let at = body.indexOf('"base64"');
  while (at !== -1) {
    const data = body.indexOf('"data"', at);
    if (data === -1 || data - at > 200) {
      at = body.indexOf('"base64"', at + 8);
      continue;
    }
    const start = body.indexOf('"', data + 6) + 1;
    const end = start === 0 ? -1 : body.indexOf('"', start);
    if (end === -1) break;
    if (/"image\//.test(body.toString("latin1", Math.max(at - 100, 0), data))) {
      found.count += 1;
      found.bytes += end - start;
    }
    at = body.indexOf('"base64"', end);
  }
  return found;
}

function countOf(body: Buffer, text: string): number {
  let found = 0;
  for (let at = body.indexOf(text); at !== -1; at = body.indexOf(text, at + text.length)) found += 1;
  return found;
}

function cacheKind(body: Buffer): "input" | "cacheWrite5m" | "cacheWrite1h" {
  if (!body.includes("cache_control")) return "input";
  return body.includes('"1h"') ? "cacheWrite1h" : "cacheWrite5m";
}

function dearest(price: ModelPrice, speed: string | null, kind: keyof Rates): { input: number; output: number } {
  const bands = [price.rates, price.longPrompt?.rates, speed === "fast" ? price.fast : null].filter(
    (rates) => rates !== null && rates !== undefined,
  );
  return {
    input: Math.max(...bands.map((rates) => rates[kind])),
    output: Math.max(...bands.map((rates) => rates.output)),
  };
}
