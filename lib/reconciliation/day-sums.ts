import type { DaySums } from "./schema.ts";

export const NO_SUMS: DaySums = {
  inputTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  cacheReadTokens: 0,
  outputTokens: 0,
  webSearchRequests: 0,
  costNanoUsd: 0,
};

const NAMES = Object.keys(NO_SUMS) as (keyof DaySums)[];

/** `left` plus or less `right`, number by number. */
export function combine(left: DaySums, sign: 1 | -1, right: DaySums): DaySums {
  const result = { ...NO_SUMS };
  for (const name of NAMES) result[name] = left[name] + sign * right[name];
  return result;
}

export function isNothing(sums: DaySums): boolean {
  return NAMES.every((name) => sums[name] === 0);
}

/** A model's name without its date: answers and reports may name one model in both ways. */
export function undated(model: string | null): string | null {
  return model === null ? null : model.replace(/-\d{8}$/, "");
}
