import type { SimulatedClock } from "./simulated-clock.ts";

/** Counts the calls that are not ended, and tells when there are none. */
export class OpenCalls {
  #count = 0;
  #waiting: (() => void)[] = [];

  enter(): void {
    this.#count += 1;
  }

  leave(): void {
    this.#count -= 1;
    if (this.#count > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  idle(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** Work that goes on without a call: it waits in simulated time and counts as open. Whoever begins it can end it. */
export class Background {
  readonly clock: SimulatedClock;
  #pollMs: number;
  #open: OpenCalls;

  constructor(clock: SimulatedClock, pollMs: number, open: OpenCalls) {
    this.clock = clock;
    this.#pollMs = pollMs;
    this.#open = open;
  }

  run(work: Promise<void>): void {
    this.#open.enter();
    work.finally(() => this.#open.leave());
  }

  /** Resolves at a simulated time, or when the signal says so. */
  async sleepUntil(atMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const leftMs = atMs - this.clock.now();
      if (leftMs <= 0) return;
      await pause(Math.min(this.#pollMs, Math.max(1, Math.ceil(this.clock.realMs(leftMs)))), signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
