import { parseArgs } from "node:util";
import { TIERS } from "../anthropic/pools.ts";
import { AppError, messageOf } from "../kit/errors.ts";
import { FAULTS, type Fault, type FaultRates } from "./faults.ts";
import type { LimitOverrides } from "./organization-limits.ts";
import { ACCOUNTING_MODES } from "./pool-meter.ts";
import { type SimulatorOptions, startSimulator } from "./simulator.ts";

const HELP = `A Claude API on this machine: real limits, headers, streams and errors, no key and no internet.

npm run simulator -- [options]

  --port P                 port on 127.0.0.1 (default 8787; 0 takes any free one)
  --tier TIER              published limits of start, build or scale (default start)
  --limits POOL=R/I/O      requests, input and output tokens a minute of one pool, such as opus-5.5=50/30000/8000;
                           may be repeated; fast mode is opus-5.5/fast, a Priority Tier commitment opus-4.x/priority;
                           surfaces have names too, of which requests count: batches, batch_queue, count_tokens, files,
                           skills, web_search, agents_create, agents_read
  --fault NAME=SHARE       a share of calls that meets a fault, such as 529=0.05; may be repeated:
                           ${FAULTS.join(", ")}
  --organization ID        whose limits its keys draw on (default: one and the same for all simulators)
  --seed N                 the same seed gives the same answers (default 1)
  --time-scale X           run X times as fast (default 1)
  --tokens-per-second N    speed of one answer (default 80)
  --first-token-ms N       time to its first token (default 400)
  --batch-ms N             from the creation of a batch to its end (default 0: at once)
  --accounting MODE        when output is charged: continuous, at-end or reserve (default continuous)
  --acceleration           refuse use that grows too fast
  --help                   this text

Point a client at it:  ANTHROPIC_BASE_URL=http://127.0.0.1:8787 ANTHROPIC_API_KEY=sk-ant-anything
Its own books:         GET /simulator/ledger, GET|POST /simulator/limits, GET|POST /simulator/faults, POST /simulator/drain
`;

export type SimulatorFlags = { help: boolean; options: SimulatorOptions };

/** Reads the command line. Throws AppError `invalid_input` with what is wrong and how to write it. */
export function parseSimulatorFlags(args: readonly string[]): SimulatorFlags {
  const { values } = readArgs(args);
  return {
    help: values.help ?? false,
    options: {
      port: number("port", values.port ?? "8787", { integer: true, from: 0, to: 65_535 }),
      tier: oneOf("tier", values.tier ?? "start", TIERS),
      limits: limitsOf(values.limits ?? []),
      faults: faultsOf(values.fault ?? []),
      ...(values.organization === undefined ? {} : { organizationId: values.organization }),
      seed: number("seed", values.seed ?? "1", { integer: true, from: 0, to: 4_294_967_295 }),
      timeScale: number("time-scale", values["time-scale"] ?? "1", { from: 0.001, to: 100_000 }),
      tokensPerSecond: number("tokens-per-second", values["tokens-per-second"] ?? "80", { from: 1, to: 1e9 }),
      firstTokenMs: number("first-token-ms", values["first-token-ms"] ?? "400", { from: 0, to: 600_000 }),
      batchMs: number("batch-ms", values["batch-ms"] ?? "0", { from: 0, to: 172_800_000 }),
      accounting: oneOf("accounting", values.accounting ?? "continuous", ACCOUNTING_MODES),
      acceleration: values.acceleration ? {} : null,
    },
  };
}

function readArgs(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        port: { type: "string" },
        tier: { type: "string" },
        limits: { type: "string", multiple: true },
        fault: { type: "string", multiple: true },
        organization: { type: "string" },
        seed: { type: "string" },
        "time-scale": { type: "string" },
        "tokens-per-second": { type: "string" },
        "first-token-ms": { type: "string" },
        "batch-ms": { type: "string" },
        accounting: { type: "string" },
        acceleration: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new AppError("invalid_input", `${messageOf(error).split(". ")[0]}. See --help.`, { cause: error });
  }
}

function number(flag: string, text: string, range: { integer?: boolean; from: number; to: number }): number {
  const value = Number(text);
  const good = text.trim() !== "" && value >= range.from && value <= range.to;
  if (good && (!range.integer || Number.isInteger(value))) return value;
  const kind = range.integer ? "a whole number" : "a number";
  throw new AppError("invalid_input", `--${flag} ${text}: must be ${kind} from ${range.from} to ${range.to}`);
}

function oneOf<Value extends string>(flag: string, text: string, allowed: readonly Value[]): Value {
  const value = allowed.find((name) => name === text);
  if (value !== undefined) return value;
  throw new AppError("invalid_input", `--${flag} ${text}: must be one of ${allowed.join(", ")}`);
}

function limitsOf(texts: readonly string[]): LimitOverrides {
  const limits: LimitOverrides = {};
  for (const text of texts) {
    const match = /^([a-z0-9._-]+(?:\/(?:fast|priority))?)=(\d+)\/(\d+)\/(\d+)$/.exec(text);
    const [requests = 0, input_tokens = 0, output_tokens = 0] = match?.slice(2).map(Number) ?? [];
    if (!match?.[1] || Math.min(requests, input_tokens, output_tokens) < 1) {
      throw new AppError(
        "invalid_input",
        `--limits ${text}: write POOL=REQUESTS/INPUT/OUTPUT, each at least 1 a minute, such as opus-5.5=50/30000/8000`,
      );
    }
    limits[match[1]] = { requests, input_tokens, output_tokens };
  }
  return limits;
}

function faultsOf(texts: readonly string[]): FaultRates {
  const rates: FaultRates = {};
  for (const text of texts) {
    const [name = "", share = ""] = text.split("=");
    const fault = FAULTS.find((entry): entry is Fault => entry === name);
    if (!fault) throw new AppError("invalid_input", `--fault ${text}: must be one of ${FAULTS.join(", ")}`);
    rates[fault] = number("fault", share, { from: 0, to: 1 });
  }
  return rates;
}

async function main(): Promise<void> {
  const { help, options } = parseSimulatorFlags(process.argv.slice(2));
  if (help) {
    process.stdout.write(HELP);
    return;
  }
  const simulator = await startSimulator(options).catch((error: unknown) => {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "EADDRINUSE") {
      throw new AppError(
        "conflict",
        `Port ${options.port} is taken: choose another with --port, or 0 for any free one`,
      );
    }
    if (code === "EACCES") {
      throw new AppError("conflict", `Port ${options.port} may not be opened: choose one above 1023 with --port`);
    }
    throw error;
  });
  process.stdout.write(`Claude API simulator on ${simulator.url}\n`);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void simulator.close());
  }
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    process.stderr.write(`${messageOf(error)}\n`);
    process.exitCode = 1;
  });
}
