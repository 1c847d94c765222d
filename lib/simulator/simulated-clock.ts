import type { Clock } from "../kit/clock.ts";

/**
 * The simulator's own time, in whole milliseconds since the epoch. It runs `timeScale` times as fast as the clock it is
 * made from, and everything the simulator says (Date, resets, retry-after) is told in it.
 */
export type SimulatedClock = {
  now(): number;
  /** How long a real timer must run for so much simulated time to pass. */
  realMs(simulatedMs: number): number;
};

export function createSimulatedClock(clock: Clock, timeScale: number): SimulatedClock {
  const start = clock.now();
  const origin = clock.monotonic();
  return {
    now: () => Math.floor(start + (clock.monotonic() - origin) * timeScale),
    realMs: (simulatedMs) => simulatedMs / timeScale,
  };
}
