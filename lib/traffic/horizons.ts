import type { Accounting } from "./ledger.ts";
import { add, at } from "./numbers.ts";

/** Seconds ahead at which the output level is forecast: 8,000 tokens at 40 a second take 200. */
export const HORIZONS = [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256] as const;

/** Output tokens drained by each of the horizons. */
export type Drain = Float64Array;

export function noDrain(): Drain {
  return new Float64Array(HORIZONS.length);
}

/** What is known of a stream's future. `delayS` is until its first token. */
export type Flow = { produced: number; remaining: number; tokensPerS: number; delayS: number };

/** Adds a stream's drain `sign` times: 1 for one that is open, -1 to take the same away again. */
export function addFlow(drain: Drain, flow: Flow, accounting: Accounting, sign: 1 | -1): void {
  if (accounting === "reserve") return;
  const { remaining, tokensPerS, delayS } = flow;
  const lastsS = delayS + remaining / tokensPerS;
  for (let index = 0; index < HORIZONS.length; index += 1) {
    const horizonS = at(HORIZONS, index);
    if (accounting === "at-end") {
      if (lastsS <= horizonS) add(drain, index, sign * (flow.produced + remaining));
    } else if (horizonS > delayS) {
      add(drain, index, sign * Math.min(tokensPerS * (horizonS - delayS), remaining));
    }
  }
}
