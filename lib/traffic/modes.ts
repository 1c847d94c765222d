import type { TrafficMode } from "./schema.ts";

/** How pools are treated: one mode for all, and others by a pool's id, in all groups and lanes. */
export class Modes {
  general: TrafficMode;
  byPool: Readonly<Record<string, TrafficMode>> = {};

  constructor(general: TrafficMode) {
    this.general = general;
  }

  of(pool: string): TrafficMode {
    // Callers name pools after models that they make up, "constructor" among them.
    return (Object.hasOwn(this.byPool, pool) ? this.byPool[pool] : undefined) ?? this.general;
  }
}
