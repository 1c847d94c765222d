import { CLASSES, type TrafficClass } from "../../lib/traffic/schema.ts";
import type { UpstreamModel } from "./admission-upstream.ts";
import type { Job } from "./admission-workload.ts";

type Totals = ReturnType<UpstreamModel["totals"]>;
type ByClass<Value> = Record<TrafficClass, Value>;

/** The figures of one run; shares are fractions of 1. */
export type Figures = {
  client429: number;
  upstream429: number;
  shed: number;
  goodput: number;
  waitS: ByClass<{ p50: number; p99: number }>;
  served: ByClass<number>;
  jain: ByClass<number>;
};

const LIMITS = [1_000, 450_000, 90_000] as const;

/** Counts what happens in the measured window. */
export class Books {
  readonly #waits = byClass<number[]>(() => []);
  readonly #offeredCost = byClass<Map<string, number>>(() => new Map());
  readonly #servedCost = byClass<Map<string, number>>(() => new Map());
  #start: Totals[] | null = null;
  #startS = Number.POSITIVE_INFINITY;
  #offered = 0;
  #client429 = 0;
  #shed = 0;
  #sent = 0;
  #refused = 0;

  start(totals: Totals[], nowS: number): void {
    this.#start = totals;
    this.#startS = nowS;
  }

  offered(job: Job): void {
    if (!this.#isCounted(job)) return;
    this.#offered += 1;
    addTo(this.#offeredCost[job.class], job.agent, cost(job.uncached, job.output));
  }

  sent(status: number): void {
    if (!this.#start) return;
    this.#sent += 1;
    if (status === 429) this.#refused += 1;
  }

  served(job: Job, uncached: number, nowS: number): void {
    if (!this.#isCounted(job)) return;
    this.#waits[job.class].push(nowS - job.arrivedS);
    addTo(this.#servedCost[job.class], job.agent, cost(uncached, job.output));
  }

  failed(job: Job, how: "client429" | "shed"): void {
    if (!this.#isCounted(job)) return;
    if (how === "shed") this.#shed += 1;
    else this.#client429 += 1;
  }

  /** Calls count that are offered in the window; those that still wait at its end are neither served nor shed. */
  #isCounted(job: Job): boolean {
    return job.arrivedS >= this.#startS;
  }

  close(totals: Totals[]): Figures {
    const offered = Math.max(1, this.#offered);
    const start = this.#start ?? totals;
    return {
      client429: this.#client429 / offered,
      upstream429: this.#refused / Math.max(1, this.#sent),
      shed: this.#shed / offered,
      goodput: Math.min(...totals.map((end, index) => goodput(start[index] ?? end, end))),
      waitS: byClass((of) => ({ p50: quantile(this.#waits[of], 0.5), p99: quantile(this.#waits[of], 0.99) })),
      served: byClass((of) => sum(this.#servedCost[of]) / Math.max(1e-12, sum(this.#offeredCost[of]))),
      jain: byClass((of) => jain(this.#offeredCost[of], this.#servedCost[of])),
    };
  }
}

/** What was taken of what could be had, of the limiter that was used most. */
function goodput(start: Totals, end: Totals): number {
  const of = (index: number) => {
    const change = (values: (totals: Totals) => number[]) => (values(end)[index] ?? 0) - (values(start)[index] ?? 0);
    const used = change((totals) => totals.gateway);
    const could =
      change((totals) => totals.refilled) - change((totals) => totals.levels) - change((totals) => totals.foreign);
    return used / could;
  };
  return Math.max(of(0), of(1), of(2));
}

/** Service of each agent against its max-min fair share of the class's, given what it asked for. */
function jain(offered: Map<string, number>, served: Map<string, number>): number {
  const demands = [...offered].sort((a, b) => a[1] - b[1]);
  let left = sum(served);
  let agents = demands.length;
  const ratios: number[] = [];
  for (const [agent, demand] of demands) {
    const fair = Math.min(demand, left / agents);
    left -= fair;
    agents -= 1;
    if (fair > 0) ratios.push((served.get(agent) ?? 0) / fair);
  }
  const squares = ratios.reduce((total, ratio) => total + ratio * ratio, 0);
  const total = ratios.reduce((all, ratio) => all + ratio, 0);
  return squares === 0 ? 0 : (total * total) / (ratios.length * squares);
}

function cost(input: number, output: number): number {
  return 1 / LIMITS[0] + input / LIMITS[1] + output / LIMITS[2];
}

function quantile(values: number[], share: number): number {
  values.sort((a, b) => a - b);
  return values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
}

function sum(costs: Map<string, number>): number {
  let total = 0;
  for (const value of costs.values()) total += value;
  return total;
}

function addTo(costs: Map<string, number>, agent: string, amount: number): void {
  costs.set(agent, (costs.get(agent) ?? 0) + amount);
}

export function byClass<Value>(of: (name: TrafficClass) => Value): ByClass<Value> {
  const [critical, high, normal, low] = CLASSES;
  return { critical: of(critical), high: of(high), normal: of(normal), low: of(low) };
}
