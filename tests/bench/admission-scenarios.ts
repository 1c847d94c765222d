import type { Scenario } from "./admission-run.ts";
import type { UpstreamOptions } from "./admission-upstream.ts";
import type { WorkloadOptions } from "./admission-workload.ts";

/** The figures that the recommended policy was measured to reach, in per cent and seconds, by class from critical down. */
export type Target = {
  shed: number;
  upstream429: number;
  goodput: number;
  p50: readonly [number, number, number, number];
  p99: readonly [number, number, number, number];
  served: readonly [number, number, number, number];
  jain: number;
};

const UPSTREAM: UpstreamOptions = {
  limits: [1_000, 450_000, 90_000],
  burstS: 60,
  accounting: "continuous",
  fullThenAdjust: false,
  acceleration: false,
  storm: null,
  limitChange: null,
};

const WORKLOAD: WorkloadOptions = {
  load: 1,
  shape: "poisson",
  inputFactor: 1,
  outputFactor: 1,
  classShares: [0.05, 0.2, 0.45, 0.3],
  step: null,
};

type Change = { upstream?: Partial<UpstreamOptions>; foreign?: boolean; keys?: readonly number[] };

export function scenario(name: string, workload: Partial<WorkloadOptions>, change: Change = {}): Scenario {
  return {
    name,
    upstream: { ...UPSTREAM, ...change.upstream },
    keys: change.keys ?? [1],
    workload: { ...WORKLOAD, ...workload },
    foreign: change.foreign ?? false,
  };
}

type Four = readonly [number, number, number, number];

function target(
  shed: number,
  upstream429: number,
  goodput: number,
  p50: Four,
  p99: Four,
  served: Four,
  jain: number,
): Target {
  return { shed, upstream429, goodput, p50, p99, served, jain };
}

/** The scenarios of the reference with one instance, and what the reference reached. */
export const SCENARIOS: readonly { scenario: Scenario; target: Target }[] = [
  {
    scenario: scenario("x0.8", { load: 0.8 }),
    target: target(0, 0, 80.3, [0, 0, 0, 0], [0, 0, 0, 0], [100, 100, 100, 100], 1),
  },
  {
    scenario: scenario("x0.8 bursty", { load: 0.8, shape: "bursty" }),
    target: target(0, 0, 82.3, [0, 0, 0, 0], [0, 5.6, 0, 35.2], [100, 100, 100, 100], 1),
  },
  {
    scenario: scenario("x1", { load: 1 }),
    target: target(0.1, 0, 99.2, [0, 0, 0, 0.2], [0, 0, 3.4, 106.8], [100, 100, 100, 96], 1),
  },
  {
    scenario: scenario("x1 bursty", { load: 1, shape: "bursty" }),
    target: target(0.4, 0, 98.5, [0, 0, 0.3, 15.1], [0, 2.3, 38.2, 239], [100, 100, 100, 94], 1),
  },
  {
    scenario: scenario("x1.5", { load: 1.5 }),
    target: target(23.2, 0, 100, [0, 0, 13.9, 475], [0, 0, 239.9, 480.2], [100, 100, 78, 8], 0.99),
  },
  {
    scenario: scenario("x3", { load: 3 }),
    target: target(48.5, 0, 100, [0, 0, 238, 478], [0, 23.5, 240.4, 480.3], [100, 100, 10, 4], 0.99),
  },
  {
    scenario: scenario("x3 bursty", { load: 3, shape: "bursty" }),
    target: target(49.2, 0, 100, [0, 15.9, 207, 455], [0, 111, 240.3, 480.3], [100, 93, 14, 4], 0.97),
  },
  {
    scenario: scenario("x3 bursty, foreign", { load: 3, shape: "bursty" }, { foreign: true }),
    target: target(54.4, 0.13, 100, [0, 52.1, 212, 457], [1.2, 120.2, 240.3, 480.3], [100, 79, 9, 3], 0.97),
  },
  {
    scenario: scenario("x5", { load: 5 }),
    target: target(62.1, 0, 100, [0, 119, 240, 479], [0, 120.4, 240.4, 480.4], [100, 50, 5, 3], 0.99),
  },
  {
    scenario: scenario("x5 bursty", { load: 5, shape: "bursty" }),
    target: target(63.3, 0.08, 97, [0, 74.4, 219, 458], [59.8, 120.3, 240.4, 480.3], [96, 47, 5, 3], 0.93),
  },
  {
    scenario: scenario("x3, limit halves", { load: 3 }, { upstream: { limitChange: { atS: 1_200, factor: 0.5 } } }),
    target: target(56.2, 0.01, 100, [0, 0, 238, 478], [3, 120.1, 240.4, 480.3], [100, 68, 7, 3], 0.97),
  },
  {
    scenario: scenario("ITPM-bound: x1.2, input x2.5", { load: 1.2, inputFactor: 2.5 }),
    target: target(26.9, 0, 100, [0, 0, 70.8, 473], [0, 11.5, 239.9, 480.3], [100, 100, 56, 7], 0.98),
  },
  {
    scenario: scenario(
      "x3, full-then-adjust, input x1.67",
      { load: 3, inputFactor: 1.67 },
      { upstream: { fullThenAdjust: true } },
    ),
    target: target(53.6, 0.01, 100, [0, 73.7, 239, 478], [0.8, 120, 240.4, 480.3], [100, 82, 6, 3], 0.98),
  },
  {
    scenario: scenario("x1.5, burst 10 s", { load: 1.5 }, { upstream: { burstS: 10 } }),
    target: target(23.4, 0.05, 100, [0, 0.4, 11.4, 475], [0.4, 6.1, 239.9, 480.2], [100, 100, 78, 8], 0.98),
  },
  {
    scenario: scenario("x3, burst 5 s", { load: 3 }, { upstream: { burstS: 5 } }),
    target: target(48.7, 0.56, 98, [0, 8, 238, 478], [6.1, 43.6, 240.3, 480.3], [100, 99, 9, 4], 0.98),
  },
  {
    scenario: scenario(
      "acceleration, x0.1 to x2",
      { load: 0.1, step: { atS: 600, load: 2 } },
      { upstream: { acceleration: true } },
    ),
    target: target(31.9, 0.1, 83.3, [0, 0, 189, 463], [5.6, 16.1, 240.2, 480.2], [100, 100, 44, 9], 0.98),
  },
  {
    scenario: scenario("x1, 529 storm", { load: 1 }, { upstream: { storm: { fromS: 900, toS: 960, share: 0.7 } } }),
    target: target(0.7, 0, 96.8, [0, 0, 0, 7.2], [7.4, 61.5, 94.7, 411], [100, 100, 100, 88], 1),
  },
  {
    scenario: scenario("x1.5, reserve accounting", { load: 1.5 }, { upstream: { accounting: "reserve" } }),
    target: target(24.5, 0, 99.3, [0, 0.1, 38.9, 475], [0.9, 2.7, 240, 480.2], [100, 100, 75, 8], 0.99),
  },
  {
    scenario: scenario("x1.5, at-end accounting", { load: 1.5 }, { upstream: { accounting: "at-end" } }),
    target: target(23.2, 0, 100, [0, 0, 20.7, 474], [1.5, 17.6, 239.4, 480.2], [100, 100, 78, 8], 0.97),
  },
  {
    scenario: scenario(
      "50/30k/8k, x1.5",
      { load: 1.5, inputFactor: 0.5, outputFactor: 0.5 },
      { upstream: { limits: [50, 30_000, 8_000] } },
    ),
    target: target(25.6, 0.62, 97.6, [0, 0.3, 119, 447], [12, 60, 239, 479.6], [100, 100, 67, 10], 0.89),
  },
  {
    scenario: scenario("critical floods: x3", { load: 3, classShares: [0.6, 0.1, 0.2, 0.1] }),
    target: target(70.9, 0.12, 100, [60, 112, 237, 471], [60.4, 120.2, 240.3, 480.1], [22, 75, 20, 15], 0.98),
  },
  {
    scenario: scenario("2 keys, x3", { load: 3 }, { keys: [1, 1] }),
    target: target(23.2, 0, 100, [0, 0, 7.2, 478], [0, 0, 240.1, 480.3], [100, 100, 86, 8], 0.98),
  },
  {
    scenario: scenario("3 keys 1:1/2:1/4, x3", { load: 3 }, { keys: [1, 0.5, 0.25] }),
    target: target(31.1, 0.01, 98.6, [0, 0, 158, 478], [0, 0, 240.2, 480.4], [100, 103, 58, 7], 0.99),
  },
  {
    scenario: scenario("closed x3", { load: 3, shape: "closed" }),
    target: target(0.2, 0, 100, [0, 0, 41.7, 96.8], [0, 0.1, 438.1, 510.6], [100, 100, 95, 83], 0.98),
  },
  {
    scenario: scenario("closed x5, foreign", { load: 5, shape: "closed" }, { foreign: true }),
    target: target(1, 0, 100, [0, 29.2, 136, 162], [0, 97.8, 532.6, 526.8], [100, 99, 78, 68], 0.97),
  },
];
