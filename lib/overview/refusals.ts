import type { Clock } from "../kit/clock.ts";
import type { CallRecord } from "../usage/schema.ts";

const MINUTES = 60;

/** Refused calls of the last 60 minutes by cause, a count a minute. */
export class Refusals {
  readonly #clock: Clock;
  readonly #counts = new Map<string, Map<number, number>>();

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  add(call: CallRecord): void {
    if (call.refusal) this.count(call.refusal, Math.floor(Date.parse(call.startedAt) / 60_000), 1);
  }

  /** `minute` counts from the epoch. */
  count(refusal: string, minute: number, calls: number): void {
    const minutes = this.#counts.get(refusal) ?? new Map<number, number>();
    minutes.set(minute, (minutes.get(minute) ?? 0) + calls);
    this.#counts.set(refusal, minutes);
  }

  list(): { refusal: string; total: number; minutes: number[] }[] {
    const last = Math.floor(this.#clock.now() / 60_000);
    const rows = [...this.#counts].map(([refusal, counts]) => {
      for (const minute of counts.keys()) if (minute <= last - MINUTES) counts.delete(minute);
      const minutes = Array.from({ length: MINUTES }, (_, index) => counts.get(last - MINUTES + 1 + index) ?? 0);
      return { refusal, total: minutes.reduce((sum, count) => sum + count, 0), minutes };
    });
    return rows.filter(({ total }) => total > 0).sort((a, b) => b.total - a.total);
  }
}
