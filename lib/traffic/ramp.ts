import { clamp } from "./numbers.ts";

const MAX_TOKENS_S = 2;
const MAX_RATE = 1.5;
const STEP_S = 5;
const MIN_CUT_GAP_S = 2;
/** What asks for slower growth spares critical calls; what has just come back takes no thousand of them at once either. */
const RESTART_HOLDS_ALL_S = 10;

/** `growth` is the factor of each step after the cut. */
export type RampCut = { factor: number; floor: number; holdS: number; growth: number };

const CAREFUL_GROWTH = 1.25;
export const ACCELERATION_CUT: RampCut = { factor: 0.7, floor: 0.1, holdS: 600, growth: CAREFUL_GROWTH };
/**
 * An overload has nothing against growth: once it is over the upstream takes what it took before, and while it is not,
 * the next refusal cuts again before the next step. Every second of restraint more is refill that a full bucket loses.
 */
export const OVERLOAD_CUT: RampCut = { factor: 0.85, floor: 0.25, holdS: 60, growth: 2 };

/**
 * Slows growth after the upstream has asked for it. In seconds of limit: a call that costs the refill of half a second
 * takes half a token, and the rate says how many seconds of limit go out in one. Off (infinite) until the first cut.
 */
export class Ramp {
  #rate = Number.POSITIVE_INFINITY;
  #tokens = 1;
  #nowS: number;
  #cutS = Number.NEGATIVE_INFINITY;
  #stepS = 0;
  #offS = Number.NEGATIVE_INFINITY;
  #growth = CAREFUL_GROWTH;
  #holdsAllUntilS = Number.NEGATIVE_INFINITY;
  /** What goes out now, decayed over ten seconds: where a first cut begins. */
  #sendRate = 0;
  #sentS: number;

  constructor(nowS: number) {
    this.#nowS = nowS;
    this.#sentS = nowS;
  }

  /** Infinite while off. */
  get rate(): number {
    return this.#rate;
  }

  get isOn(): boolean {
    return this.#rate !== Number.POSITIVE_INFINITY;
  }

  /** What it was cut for had another cause. */
  lift(): void {
    this.#rate = Number.POSITIVE_INFINITY;
    this.#offS = Number.NEGATIVE_INFINITY;
  }

  tick(nowS: number): void {
    const elapsedS = Math.max(0, nowS - this.#nowS);
    this.#nowS = Math.max(this.#nowS, nowS);
    if (!this.isOn) return;
    if (nowS >= this.#offS) {
      this.#rate = Number.POSITIVE_INFINITY;
      return;
    }
    while (nowS - this.#stepS >= STEP_S) {
      this.#stepS += STEP_S;
      this.#rate = Math.min(MAX_RATE, this.#growth * this.#rate);
    }
    this.#tokens = Math.min(MAX_TOKENS_S, this.#tokens + this.#rate * elapsedS);
  }

  /** Whether a call worth so many seconds of limit may go. A large one goes on 1.5 and leaves a debt. */
  allows(seconds: number, isCritical: boolean): boolean {
    if (!this.isOn || (isCritical && this.#nowS >= this.#holdsAllUntilS)) return true;
    return this.#tokens >= Math.min(seconds, 1.5);
  }

  send(seconds: number, nowS: number): void {
    this.#tokens = this.isOn ? this.#tokens - seconds : this.#tokens;
    const elapsedS = Math.max(0, nowS - this.#sentS);
    this.#sentS = Math.max(this.#sentS, nowS);
    this.#sendRate = this.#sendRate * Math.exp(-elapsedS / 10) + seconds / 10;
  }

  /** Cuts the rate, at most every two seconds: refusals of one moment are one sign. */
  cut({ factor, floor, holdS, growth }: RampCut, nowS: number): void {
    if (nowS - this.#cutS < MIN_CUT_GAP_S) return;
    const current = this.isOn ? this.#rate : Math.max(floor, this.#sendRate);
    this.#start({ rate: clamp(factor * current, floor, MAX_RATE), holdS, growth }, nowS);
  }

  /** Begins slowly after an outage, so that what has waited does not go out at once. */
  restart(rate: number, holdS: number, nowS: number): void {
    this.#holdsAllUntilS = nowS + RESTART_HOLDS_ALL_S;
    this.#start({ rate: Math.min(rate, this.#rate), holdS, growth: CAREFUL_GROWTH }, nowS);
  }

  /** Nothing goes out until then: what gathered in the silence would go out at once after it. */
  rest(untilS: number): void {
    this.#nowS = Math.max(this.#nowS, untilS);
  }

  #start({ rate, holdS, growth }: { rate: number; holdS: number; growth: number }, nowS: number): void {
    // Two causes at once: the more careful of them holds.
    this.#growth = this.isOn ? Math.min(this.#growth, growth) : growth;
    this.#rate = rate;
    this.#tokens = 0;
    this.#cutS = nowS;
    this.#stepS = nowS;
    this.#offS = Math.max(this.#offS, nowS + holdS);
  }
}
