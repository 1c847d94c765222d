/**
 * Money is an integer count of nano-dollars (1e-9 USD), because a cache-read token of the cheapest model costs 10 of
 * them. Exact up to 2^53 of them, about nine million dollars a value.
 */
export type NanoUsd = number;

export const NANO_USD_PER_USD = 1_000_000_000;

/** Dollars per million tokens, as price lists state them, to nano-dollars per token. Throws when that is no integer. */
export function perToken(usdPerMillion: number): NanoUsd {
  const nano = Math.round(usdPerMillion * 1_000 * 1_000) / 1_000;
  if (!Number.isInteger(nano))
    throw new RangeError(`${usdPerMillion} USD per million tokens is not a whole nano-dollar`);
  return nano;
}

/** "$0.301349" for one call (six decimals), "$952.45" for sums. */
export function formatUsd(nano: NanoUsd, decimals: 2 | 6 = 2): string {
  const value = nano / NANO_USD_PER_USD;
  return `$${value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })}`;
}

/** Cents as a decimal string, such as "123.45678", to nano-dollars, rounded half up. Throws when it is no number. */
export function centsToNanoUsd(cents: string): NanoUsd {
  const [, sign, whole = "", fraction = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(cents) ?? [];
  if (sign === undefined) throw new RangeError(`"${cents}" is not a number of cents`);
  const tenths = BigInt(whole + fraction.padEnd(8, "0").slice(0, 8));
  return Number((tenths + 5n) / 10n) * (sign === "-" && tenths > 0n ? -1 : 1);
}
