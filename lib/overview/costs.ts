import type { Clock } from "../kit/clock.ts";
import type { CallRecord } from "../usage/schema.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Agents go by what callers write: past twice as many the dearest are kept, and the others only in the day's sum. */
const KEPT_AGENTS = 2_000;

/** What today (UTC) has cost so far, in memory: by hour and by agent, and over the last minute. */
export class Costs {
  readonly #clock: Clock;
  #day = 0;
  #hours: number[] = [];
  #agents = new Map<string, number>();
  #unpriced = 0;
  /** By second, so that it does not grow with the calls. */
  #recent: { second: number; nano: number }[] = [];

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  add(call: CallRecord): void {
    const nowMs = this.#clock.now();
    this.#turn(nowMs);
    const startedMs = Date.parse(call.startedAt);
    if (call.costNanoUsd === null) this.#unpriced += 1;
    const nano = call.costNanoUsd ?? 0;
    this.#addRecent(Math.floor(nowMs / 1000), nano);
    this.#count(startedMs, call.agent, nano);
  }

  /** Adds what is in the database of earlier today. */
  warm(past: { atMs: number; agent: string; nano: number; unpricedCalls: number }[]): void {
    this.#turn(this.#clock.now());
    for (const { atMs, agent, nano, unpricedCalls } of past) {
      this.#count(atMs, agent, nano);
      this.#unpriced += unpricedCalls;
    }
  }

  /** One that was let go of among the cheapest begins anew. */
  ofAgent(agent: string): number {
    return this.#agents.get(agent) ?? 0;
  }

  today(): { todayNanoUsd: number; lastMinuteNanoUsd: number; hoursNanoUsd: number[]; unpricedCallsToday: number } {
    const nowMs = this.#clock.now();
    this.#turn(nowMs);
    this.#recent = this.#recent.filter(({ second }) => second > nowMs / 1000 - 60);
    const hours = Math.floor((nowMs - this.#day) / HOUR_MS) + 1;
    const hoursNanoUsd = Array.from({ length: hours }, (_, hour) => this.#hours[hour] ?? 0);
    return {
      todayNanoUsd: hoursNanoUsd.reduce((sum, nano) => sum + nano, 0),
      lastMinuteNanoUsd: this.#recent.reduce((sum, { nano }) => sum + nano, 0),
      hoursNanoUsd,
      unpricedCallsToday: this.#unpriced,
    };
  }

  #addRecent(second: number, nano: number): void {
    const last = this.#recent.at(-1);
    if (last && last.second >= second) last.nano += nano;
    else this.#recent.push({ second, nano });
    if (this.#recent.length > 120) this.#recent = this.#recent.slice(-60);
  }

  #count(startedMs: number, agent: string, nano: number): void {
    if (startedMs < this.#day) return;
    const hour = Math.floor((startedMs - this.#day) / HOUR_MS);
    this.#hours[hour] = (this.#hours[hour] ?? 0) + nano;
    this.#agents.set(agent, (this.#agents.get(agent) ?? 0) + nano);
    if (this.#agents.size <= 2 * KEPT_AGENTS) return;
    const dearest = [...this.#agents].sort(([, a], [, b]) => b - a);
    this.#agents = new Map(dearest.slice(0, KEPT_AGENTS));
  }

  #turn(nowMs: number): void {
    const day = nowMs - (nowMs % DAY_MS);
    if (day === this.#day) return;
    this.#day = day;
    this.#hours = [];
    this.#agents = new Map();
    this.#unpriced = 0;
  }
}
