import type { Tier } from "../anthropic/pools.ts";

/**
 * Parts of the API with a limit on requests of their own, apart from every pool. `batch_queue` is no rate: it is how
 * many requests of batches may wait at a time. For skills and web search Anthropic publishes no figure; 500 and 1,000
 * stand in.
 */
const REQUESTS_PER_MINUTE = {
  count_tokens: { start: 2_000, build: 4_000, scale: 8_000 },
  batches: { start: 1_000, build: 2_000, scale: 4_000 },
  batch_queue: { start: 200_000, build: 300_000, scale: 500_000 },
  files: { start: 500, build: 500, scale: 500 },
  skills: { start: 500, build: 500, scale: 500 },
  web_search: { start: 1_000, build: 1_000, scale: 1_000 },
  agents_create: { start: 300, build: 300, scale: 300 },
  agents_read: { start: 1_200, build: 1_200, scale: 1_200 },
} satisfies Record<string, Record<Tier, number>>;

export type Surface = keyof typeof REQUESTS_PER_MINUTE;

export function isSurface(name: string): name is Surface {
  return Object.hasOwn(REQUESTS_PER_MINUTE, name);
}

export function surfaceLimit(surface: Surface, tier: Tier): number {
  return REQUESTS_PER_MINUTE[surface][tier];
}
