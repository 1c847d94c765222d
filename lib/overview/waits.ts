import type { Clock } from "../kit/clock.ts";
import { CLASSES, type TrafficClass, type TrafficSnapshot } from "../traffic/schema.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { Overview } from "./schema.ts";

const WINDOW_MS = 5 * 60_000;
/** Of each class: enough for 16 calls a second; beyond that the newest speak for all. */
const MAX_WAITS = 5_000;

/** How long calls of each class have waited lately, and what waits now. */
export class Waits {
  readonly #clock: Clock;
  readonly #recent = new Map<TrafficClass, Ring>(CLASSES.map((name) => [name, new Ring()]));

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  add({ traffic }: CallRecord): void {
    if (traffic === null) return;
    this.#recent.get(traffic.class)?.add(this.#clock.now(), traffic.waitS);
  }

  state({ queues }: TrafficSnapshot): Overview["queue"] {
    const fromMs = this.#clock.now() - WINDOW_MS;
    return CLASSES.map((name) => {
      const waits = this.#recent.get(name)?.since(fromMs) ?? [];
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

/** The newest waits of a class, as numbers: an object for each would be most of what a call leaves behind. */
class Ring {
  readonly #atMs = new Float64Array(MAX_WAITS);
  readonly #waitS = new Float64Array(MAX_WAITS);
  #next = 0;

  add(atMs: number, waitS: number): void {
    this.#atMs[this.#next] = atMs;
    this.#waitS[this.#next] = waitS;
    this.#next = (this.#next + 1) % MAX_WAITS;
  }

  since(fromMs: number): number[] {
    const waits: number[] = [];
    for (let at = 0; at < MAX_WAITS; at += 1) {
      if ((this.#atMs[at] ?? 0) > fromMs) waits.push(this.#waitS[at] ?? 0);
    }
    return waits;
  }
}
