import type { NanoUsd } from "../kit/money.ts";
import { SlidingWindow } from "./sliding-window.ts";

const DAY_MS = 86_400_000;
const KEPT_PERIODS = 3;

/** What a UTC day or month has cost so far. */
export class Period {
  readonly endsAtMs: number;
  /** Of calls that ended with a known cost. */
  spent: NanoUsd = 0;
  /** Held for calls that ended without one, at the most that they may have cost: unknown is not free. */
  unknown: NanoUsd = 0;
  /** Held for calls under way, at the most that they can cost. */
  reserved: NanoUsd = 0;

  constructor(endsAtMs: number) {
    this.endsAtMs = endsAtMs;
  }
}

/** The books of one agent: the last minute's use and the cost of this day and month. In memory only. */
export class AgentAccount {
  readonly requests = new SlidingWindow();
  readonly input = new SlidingWindow();
  readonly output = new SlidingWindow();
  /** Output that calls under way may still bring. */
  heldOutput = 0;
  openCalls = 0;
  readonly #days = new Map<number, Period>();
  readonly #months = new Map<number, Period>();

  /** The UTC day of a moment. */
  day(atMs: number): Period {
    const index = Math.floor(atMs / DAY_MS);
    return this.#days.get(index) ?? keep(this.#days, index, new Period((index + 1) * DAY_MS));
  }

  /** The UTC calendar month of a moment. */
  month(atMs: number): Period {
    const date = new Date(atMs);
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
    const index = year * 12 + month;
    return this.#months.get(index) ?? keep(this.#months, index, new Period(Date.UTC(year, month + 1, 1)));
  }
}

/** Calls under way hold the periods that they began in; nobody else asks for old ones. */
function keep(periods: Map<number, Period>, index: number, period: Period): Period {
  periods.set(index, period);
  if (periods.size > KEPT_PERIODS) periods.delete(Math.min(...periods.keys()));
  return period;
}
