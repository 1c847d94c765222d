import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { AppError } from "../../lib/kit/errors.ts";
import { parseTrace } from "../../lib/simulator/trace.ts";
import { CLASSES } from "../../lib/traffic/schema.ts";
import { byClass, type Figures } from "./admission-books.ts";
import { POLICIES, type PolicyName } from "./admission-policies.ts";
import { type Scenario, simulate } from "./admission-run.ts";
import { SCENARIOS, scenario, type Target } from "./admission-scenarios.ts";

export type AdmissionRun = { scenario: string; policy: PolicyName; seed: number } & Figures;
export type AdmissionBench = { runs: AdmissionRun[] };

/**
 * Runs the scenarios of the reference, or a trace, under each policy in virtual time. `--scenario TEXT` and
 * `--policy NAME` choose, `--seeds 21,22,23` (the first of those the reference gives means of) sets the runs, `--trace FILE` with `--load 1.5,3` and `--limits RPM/ITPM/OTPM`
 * takes arrivals and sizes from a file. Prints a table and returns the figures.
 */
export function runAdmissionBench(args: readonly string[]): AdmissionBench {
  const options = parseOptions(args);
  const runs: AdmissionRun[] = [];
  console.log(HEAD);
  for (const { scenario, target } of options.scenarios) {
    for (const policy of options.policies) {
      const own = options.seeds.map((seed) => ({
        scenario: scenario.name,
        policy,
        seed,
        ...simulate(scenario, policy, seed),
      }));
      runs.push(...own);
      console.log(rowOf(scenario.name, policy, meanOf(own)));
    }
    if (target && options.policies.includes("headroom")) console.log(targetRow(scenario.name, target));
  }
  return { runs };
}

function parseOptions(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: { type: "string" },
      policy: { type: "string" },
      seeds: { type: "string", default: "21,22,23" },
      trace: { type: "string" },
      load: { type: "string", default: "1.5,3" },
      limits: { type: "string", default: "1000/450000/90000" },
    },
  });
  const policies = POLICIES.filter((name) => values.policy === undefined || values.policy.split(",").includes(name));
  if (policies.length === 0) throw new AppError("invalid_input", `--policy takes ${POLICIES.join(", ")}.`);
  const seeds = numbers(values.seeds, ",", "--seeds");
  const scenarios = values.trace
    ? traceScenarios(values.trace, numbers(values.load, ",", "--load"), numbers(values.limits, "/", "--limits"))
    : SCENARIOS.filter(({ scenario }) => values.scenario === undefined || matches(scenario.name, values.scenario));
  if (scenarios.length === 0) {
    throw new AppError(
      "invalid_input",
      `--scenario takes one of: ${SCENARIOS.map((one) => one.scenario.name).join("; ")}.`,
    );
  }
  return { policies, seeds, scenarios };
}

function matches(name: string, wanted: string): boolean {
  return wanted.endsWith("$") ? name === wanted.slice(0, -1) : name.includes(wanted);
}

function traceScenarios(
  file: string,
  loads: number[],
  limits: number[],
): { scenario: Scenario; target: Target | null }[] {
  const [requests, input, output] = limits;
  if (requests === undefined || input === undefined || output === undefined) {
    throw new AppError(
      "invalid_input",
      "--limits takes requests, input and output tokens a minute, such as 1000/450000/90000.",
    );
  }
  const trace = parseTrace(readFileSync(file, "utf8"));
  return loads.map((load) => {
    const base = scenario(`trace x${load}`, { load }, { upstream: { limits: [requests, input, output] } });
    return { scenario: { ...base, trace }, target: null };
  });
}

function numbers(text: string, separator: string, name: string): number[] {
  const values = text.split(separator).map(Number);
  if (values.some((value) => !Number.isFinite(value) || value <= 0)) {
    throw new AppError(
      "invalid_input",
      `${name} takes numbers above zero with "${separator}" between them, not ${text}.`,
    );
  }
  return values;
}

function meanOf(runs: readonly Figures[]): Figures {
  const mean = (of: (run: Figures) => number) => runs.reduce((sum, run) => sum + of(run), 0) / runs.length;
  return {
    client429: mean((run) => run.client429),
    upstream429: mean((run) => run.upstream429),
    shed: mean((run) => run.shed),
    goodput: mean((run) => run.goodput),
    waitS: byClass((name) => ({ p50: mean((run) => run.waitS[name].p50), p99: mean((run) => run.waitS[name].p99) })),
    served: byClass((name) => mean((run) => run.served[name])),
    jain: byClass((name) => mean((run) => run.jain[name])),
  };
}

const WIDTHS = [34, 13, 8, 7, 7, 8, 22, 26, 17, 5] as const;

function line(cells: readonly string[]): string {
  return cells
    .map((cell, index) => (index < 2 ? cell.padEnd(WIDTHS[index] ?? 0) : cell.padStart(WIDTHS[index] ?? 0)))
    .join(" ");
}

const HEAD = line([
  "scenario",
  "policy",
  "client%",
  "up429%",
  "shed%",
  "goodput%",
  "wait p50 C/H/N/L s",
  "wait p99 C/H/N/L s",
  "served C/H/N/L %",
  "Jain",
]);

function rowOf(name: string, policy: string, figures: Figures): string {
  return line([
    name,
    policy,
    (100 * figures.client429).toFixed(1),
    (100 * figures.upstream429).toFixed(2),
    (100 * figures.shed).toFixed(1),
    (100 * figures.goodput).toFixed(1),
    CLASSES.map((one) => short(figures.waitS[one].p50)).join("/"),
    CLASSES.map((one) => short(figures.waitS[one].p99)).join("/"),
    CLASSES.map((one) => (100 * figures.served[one]).toFixed(0)).join("/"),
    Math.min(...CLASSES.map((one) => figures.jain[one])).toFixed(2),
  ]);
}

function targetRow(name: string, target: Target): string {
  return line([
    name,
    "(table)",
    "0.0",
    target.upstream429.toFixed(2),
    target.shed.toFixed(1),
    target.goodput.toFixed(1),
    target.p50.map(short).join("/"),
    target.p99.map(short).join("/"),
    target.served.join("/"),
    target.jain.toFixed(2),
  ]);
}

function short(seconds: number): string {
  return seconds >= 100 ? seconds.toFixed(0) : seconds.toFixed(1).replace(/\.0$/, "");
}
