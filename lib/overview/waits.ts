import type { Clock } from "../kit/clock.ts";
import { CLASSES, type TrafficClass, type TrafficSnapshot } from "../traffic/schema.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { Overview } from "./schema.ts";

const WINDOW_MS = 5 * 60_000;
/** Enough for 16 calls a second; beyond that the newest speak for all. */
const MAX_WAITS = 5_000;

/** How long calls of each class have waited lately, and what waits now. */
export class Waits {
  readonly #clock: Clock;
  #recent: { atMs: number; class: TrafficClass; waitS: number }[] = [];

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  add({ traffic }: CallRecord): void {
    if (traffic === null) return;
    this.#recent.push({ atMs: this.#clock.now(), class: traffic.class, waitS: traffic.waitS });
    if (this.#recent.length > 2 * MAX_WAITS) this.#recent = this.#recent.slice(-MAX_WAITS);
  }

  state({ queues }: TrafficSnapshot): Overview["queue"] {
    const fromMs = this.#clock.now() - WINDOW_MS;
    this.#recent = this.#recent.filter(({ atMs }) => atMs > fromMs);
    return CLASSES.map((name) => {
      const waits = this.#recent.filter((wait) => wait.class === name).map(({ waitS }) => waitS);
      waits.sort((a, b) => a - b);
      const states = queues.map(({ classes }) => classes[name]);
      return {
        class: name,
        waiting: states.reduce((sum, { waiting }) => sum + waiting, 0),
        oldestWaitS: Math.max(0, ...states.map(({ oldestWaitS }) => oldestWaitS)),
        p95WaitS: waits[Math.min(waits.length - 1, Math.floor(0.95 * waits.length))] ?? null,
      };
    });
  }
}
