import { perToken } from "../kit/money.ts";

/**
 * Anthropic's list prices, with the dates from which they hold. Compiled 2026-11-22. A price change is a new line with
 * its date: the old one stays, for calls of its time.
 */

/** Nano-dollars per token. */
export type Rates = {
  input: number;
  output: number;
  cacheWrite5m: number;
  cacheWrite1h: number;
  cacheRead: number;
};

export type ModelPrice = {
  /** From this moment on, in milliseconds since the epoch. */
  fromMs: number;
  rates: Rates;
  /** A prompt (input + cache writes + cache reads) above this many tokens is charged whole at these rates. */
  longPrompt: { above: number; rates: Rates } | null;
  /** Null where fast mode does not exist, or no longer. */
  fast: Rates | null;
  /** `inference_geo: "us"` costs 1.1x on Claude 4.6 and later. */
  hasGeographySurcharge: boolean;
};

/** The price of a model at a moment, by id, alias or dated id; null when unknown. */
export function findPrice(model: string, atMs: number): ModelPrice | null {
  const list = PRICES.get(model) ?? PRICES.get(model.replace(/-\d{8}$/, ""));
  return list?.findLast((price) => price.fromMs <= atMs) ?? list?.[0] ?? null;
}

/** Every model with a price, as the list names it. */
export function listPricedModels(): string[] {
  return [...PRICES.keys()];
}

const BEFORE_4_6 = { hasGeographySurcharge: false };

const PRICES: ReadonlyMap<string, readonly ModelPrice[]> = new Map([
  ["claude-fable-5-2", [price(rates(8, 40, 0.2), { fast: rates(16, 80, 0.4) })]],
  ["claude-mythos-5-2", [price(rates(8, 40, 0.2), { fast: rates(16, 80, 0.4) })]],
  ["claude-fable-5-1", [price(rates(10, 50, 0.25))]],
  ["claude-mythos-5-1", [price(rates(10, 50, 0.25))]],
  ["claude-fable-5", [price(rates(10, 50, 1))]],
  ["claude-mythos-5", [price(rates(10, 50, 1))]],
  ["claude-opus-5-5", [price(rates(4, 20, 0.2), { fast: rates(8, 40, 0.4) })]],
  ["claude-opus-5", [price(rates(5, 25, 0.5), { fast: rates(10, 50, 1) })]],
  [
    "claude-opus-4-8",
    [price(rates(5, 25, 0.5), { fast: rates(10, 50, 1) }), price(rates(5, 25, 0.5), { from: "2026-11-30" })],
  ],
  ["claude-opus-4-7", [price(rates(5, 25, 0.5))]],
  ["claude-opus-4-6", [price(rates(5, 25, 0.5))]],
  ["claude-opus-4-5", [price(rates(5, 25, 0.5), BEFORE_4_6)]],
  ["claude-sonnet-5-5", [price(rates(2, 10, 0.2)), price(rates(2, 10, 0.1), { from: "2026-10-07" })]],
  ["claude-sonnet-5", [price(rates(2, 10, 0.2))]],
  ["claude-sonnet-4-6", [price(rates(3, 15, 0.3))]],
  ["claude-sonnet-4-5", [price(rates(3, 15, 0.3), BEFORE_4_6)]],
  [
    "claude-haiku-5-5",
    [price(rates(0.1, 0.5, 0.01), { longPrompt: { above: 100_000, rates: rates(0.5, 2.5, 0.05) } })],
  ],
  ["claude-haiku-4-5", [price(rates(1, 5, 0.1), BEFORE_4_6)]],
]);

/** From dollars per million tokens. Cache writes cost 1.25x (5 minutes) and 2x (1 hour) the input everywhere. */
function rates(inputUsd: number, outputUsd: number, cacheReadUsd: number): Rates {
  return {
    input: perToken(inputUsd),
    output: perToken(outputUsd),
    cacheWrite5m: perToken(inputUsd * 1.25),
    cacheWrite1h: perToken(inputUsd * 2),
    cacheRead: perToken(cacheReadUsd),
  };
}

function price(
  standard: Rates,
  options: Partial<Omit<ModelPrice, "fromMs" | "rates">> & { from?: string } = {},
): ModelPrice {
  return {
    fromMs: options.from === undefined ? 0 : Date.parse(`${options.from}T00:00:00Z`),
    rates: standard,
    longPrompt: options.longPrompt ?? null,
    fast: options.fast ?? null,
    hasGeographySurcharge: options.hasGeographySurcharge ?? true,
  };
}
