import type { NanoUsd } from "../kit/money.ts";
import { findPrice, type ModelPrice, type Rates } from "./price-list.ts";
import { billedIterations, billedTokens, type Tokens, type Usage } from "./usage.ts";

/** What a price depends on besides the tokens. */
export type Priced = {
  /** The model that answered, by id or alias. */
  model: string | null;
  usage: Usage;
  /** When the call began: prices have dates. Milliseconds since the epoch. */
  atMs: number;
  /** Where the answer ended as a refusal. One before any output is not charged, though its usage has counts. */
  refusal?: Refused | null;
};

/** Whether a model had produced anything when it declined. */
export type Refused = "before_output" | "midway";

/** $10 for 1,000 searches; neither geography nor batch change it. */
const WEB_SEARCH_NANO_USD = 10_000_000;

/**
 * What Anthropic charges for an answer at list price, in nano-dollars; null when a model, or its fast mode, has no known
 * price, for such a call is not free. An answer that lists iterations is priced entry by entry, each by its own model,
 * its own long-prompt band and its own geography rule; models that declined before they produced anything cost nothing.
 * A call's speed is that of the model that answered: what other models did beside it is priced at their standard rates.
 * Priority Tier tokens are valued at list price too, although a commitment pays for them.
 *
 * All is summed in twentieths of a nano-dollar, in which 1.1x and 0.5x are whole, and rounded once, half up, per call.
 */
export function priceUsage({ model, usage, atMs, refusal = null }: Priced): NanoUsd | null {
  if (refusal === "before_output") return 0;
  const parts: readonly (Tokens & { model: string | null })[] =
    usage.iterations === null ? [{ ...usage, model: null }] : billedIterations(usage.iterations, refusal !== null);
  let twentieths = 0;
  for (const part of parts) {
    const price = findPriceOf(part.model ?? model, atMs);
    const speed = price === findPriceOf(model, atMs) ? usage.speed : null;
    const rates = price && ratesFor(price, part, speed);
    if (!price || !rates) return null;
    twentieths += priceTokens(part, price, rates, usage);
  }
  return Math.floor((twentieths + 10) / 20) + usage.webSearchRequests * WEB_SEARCH_NANO_USD;
}

/** Whether anything in the usage could cost money at all. */
export function isBillable(usage: Usage): boolean {
  return Object.values(billedTokens(usage)).some((tokens) => tokens > 0) || usage.webSearchRequests > 0;
}

/** The same object for every name of a model. */
function findPriceOf(model: string | null, atMs: number): ModelPrice | null {
  return model === null ? null : findPrice(model, atMs);
}

function priceTokens(tokens: Tokens, price: ModelPrice, rates: Rates, usage: Usage): number {
  const nano =
    tokens.inputTokens * rates.input +
    tokens.cacheWrite5mTokens * rates.cacheWrite5m +
    tokens.cacheWrite1hTokens * rates.cacheWrite1h +
    tokens.cacheReadTokens * rates.cacheRead +
    tokens.outputTokens * rates.output;
  const geography = usage.inferenceGeo === "us" && price.hasGeographySurcharge ? 11 : 10;
  return nano * geography * (usage.serviceTier === "batch" ? 1 : 2);
}

function ratesFor(price: ModelPrice, tokens: Tokens, speed: string | null): Rates | null {
  if (speed === "fast") return price.fast;
  const prompt = tokens.inputTokens + tokens.cacheWriteTokens + tokens.cacheReadTokens;
  return price.longPrompt && prompt > price.longPrompt.above ? price.longPrompt.rates : price.rates;
}
