import { messageOf } from "../../lib/kit/errors.ts";
import { runAdmissionBench } from "./admission.ts";
import { runLiveAdmissionBench } from "./admission-live.ts";
import { runWaitingBench } from "./admission-waiting.ts";
import { runGatewayBench } from "./gateway.ts";

/** By name: each prints what it measures, and returns the figures. */
const BENCHES: Record<string, (args: string[]) => unknown> = {
  gateway: runGatewayBench,
  admission: (args) => {
    if (args.includes("--waiting")) return runWaitingBench();
    return args.includes("--live") ? runLiveAdmissionBench(args) : runAdmissionBench(args);
  },
};

const [name = "", ...args] = process.argv.slice(2);
const bench = BENCHES[name];
try {
  if (!bench) throw new Error(`Say which: npm run bench -- ${Object.keys(BENCHES).join(" | ")}.`);
  const result = await bench(args);
  console.log(JSON.stringify(result));
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}
