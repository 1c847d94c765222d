import type { Lane } from "../anthropic/pools.ts";

/** Where a set of limit buckets is: one pool of models, in one lane, at one upstream. */
export type Place = { upstream: string; pool: string; lane: Lane };

/** A place as one string: `upstream/pool/lane`. */
export function poolKey(place: Place): string {
  return `${place.upstream}/${place.pool}/${place.lane}`;
}
