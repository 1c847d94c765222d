import type { Breaker } from "./schema.ts";

const FAILURES_TO_OPEN = 5;
const FIRST_PAUSE_S = 1;
const MAX_PAUSE_S = 30;
/** A probe that was never answered is given up after this time. */
const PROBE_LOST_S = 120;

/**
 * Keeps calls from an upstream that fails one after the other. Open, it lets one call through after a pause that doubles
 * up to half a minute; the first success closes it.
 */
export class CircuitBreaker {
  #state: Breaker = "closed";
  #failures = 0;
  #pauseS = FIRST_PAUSE_S;
  #probeAtS = 0;
  /** The call that is out to learn whether the upstream is back. */
  #probe: number | null = null;

  get state(): Breaker {
    return this.#state;
  }

  /** Closed, and nothing has failed since the last success. */
  get isClean(): boolean {
    return this.#state === "closed" && this.#failures === 0;
  }

  /** When the next call may probe; null while closed. */
  get probeAtS(): number | null {
    return this.#state === "closed" ? null : this.#probeAtS;
  }

  allows(nowS: number): boolean {
    return this.#state === "closed" || nowS >= this.#probeAtS;
  }

  /** A call goes out. While open it is the probe, and no other goes before it has come back, unless calls are not held. */
  send(id: number, nowS: number): void {
    if (this.#state === "closed" || (this.#state === "probing" && nowS < this.#probeAtS)) return;
    this.#probe = id;
    this.#state = "probing";
    this.#probeAtS = nowS + PROBE_LOST_S;
  }

  /** True when this closes it. */
  succeed(): boolean {
    const wasOpen = this.#state !== "closed";
    this.#state = "closed";
    this.#failures = 0;
    this.#pauseS = FIRST_PAUSE_S;
    return wasOpen;
  }

  /** `unit` is a random number from 0 to 1: instances must not probe in step. `weight` counts a fault in part. */
  fail(id: number, nowS: number, unit: number, weight = 1): void {
    this.#failures += weight;
    if (this.#state === "closed" && this.#failures < FAILURES_TO_OPEN) return;
    // Calls that were out when it opened fail too: they say nothing new.
    if (this.#state === "open" || (this.#state === "probing" && id !== this.#probe)) return;
    this.#state = "open";
    this.#probeAtS = nowS + this.#pauseS * (1 - 0.25 * unit);
    this.#pauseS = Math.min(MAX_PAUSE_S, 2 * this.#pauseS);
  }

  /** A call ended without a word about the upstream, such as by a hang-up: if it was the probe, another may try. */
  abandon(id: number, nowS: number): void {
    if (this.#state !== "probing" || id !== this.#probe) return;
    this.#state = "open";
    this.#probeAtS = nowS;
  }
}
