import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, onTestFinished, test } from "vitest";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { openDoor } from "../support/gateway.ts";

const MODEL = "claude-opus-5-5";
const POOL = "opus-5.5";
/** A call is worth a tenth of a second of the output limit, and of nothing else much. */
const LIMITS = { requests: 100_000, input_tokens: 100_000_000, output_tokens: 60_000 };
const OUTPUT = 100;
const CALLS = 24;
/** After an outage: seconds of limit that go out in the first seconds, and by how much that grows in five. */
const RAMP = { rate: 0.5, growth: 1.25, stepS: 5 };

async function start() {
  let simulator = await startSimulator({ limits: { [POOL]: LIMITS } });
  const port = Number(new URL(simulator.url).port);
  const controller = new TrafficController({ random: () => 0.5 });
  const desk = new TrafficDesk({ controller, clock: systemClock, expected: () => LIMITS });
  onTestFinished(() => desk.close());
  const gateway = await openDoor("socket", simulator.url, { traffic: desk });
  onTestFinished(gateway.close);
  onTestFinished(() => simulator.close());
  const client = new Anthropic({ baseURL: gateway.url, apiKey: "sk-ant-test", maxRetries: 0 });
  const call = (agent: string, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    client.messages.create(
      { model: MODEL, max_tokens: OUTPUT, messages: [{ role: "user", content: "hi" }] },
      {
        headers: { "x-headroom-agent": agent, "x-simulator-output-tokens": String(OUTPUT), ...headers },
        ...(signal ? { signal } : {}),
      },
    );
  // What it usually answers is known, and so is that it answers.
  for (let index = 0; index < 10; index += 1) await call("steady");
  return {
    ...{ desk, gateway, call },
    stop: () => simulator.close(),
    async startAgain(): Promise<Simulator> {
      simulator = await startSimulator({ port, limits: { [POOL]: LIMITS } });
      return simulator;
    },
  };
}

/** Calls that wait, and the one that asks whether the upstream is back. */
function held(desk: TrafficDesk): number {
  const { waiting, open } = desk.snapshot();
  return waiting + open;
}

/** Calls that fail as the upstream is found to be down, and then this many probes that fail too. */
async function outage(desk: TrafficDesk, probes: number): Promise<void> {
  await expect.poll(() => desk.snapshot().upstreams[0]?.breaker, { timeout: 30_000 }).toBe("open");
  const { requeued } = desk.snapshot().counts;
  await expect
    .poll(() => desk.snapshot().counts.requeued - requeued, { timeout: 60_000 })
    .toBeGreaterThanOrEqual(probes);
}

describe("an upstream that is stopped while calls wait", () => {
  test("serves them all when it is back, no faster than the ramp allows, and no caller hears of it", async () => {
    const { desk, gateway, call, stop, startAgain } = await start();
    await stop();
    const calls = Array.from({ length: CALLS }, () => call("agent"));
    await outage(desk, 2);
    expect(held(desk)).toBe(CALLS);
    const simulator = await startAgain();
    const answers = await Promise.all(calls);
    expect(answers.map(({ type, usage }) => [type, usage.output_tokens])).toEqual(
      answers.map(() => ["message", OUTPUT]),
    );

    const { entries, sums } = simulator.ledger;
    expect(sums.byStatus).toEqual({ "200": CALLS });
    const times = entries.map(({ at }) => Date.parse(at)).sort((a, b) => a - b);
    const beganMs = times[0] ?? 0;
    const tooEarly = times.filter((atMs, index) => index > 2 + callsAllowed((atMs - beganMs) / 1000));
    expect(tooEarly).toEqual([]);
    // Without the ramp the full bucket would have let all of them go at once.
    expect(CALLS).toBeGreaterThan(4 * callsAllowed(1));
    expect(gateway.records.calls.filter(({ outcome }) => outcome !== "succeeded")).toEqual([]);
  });

  test("keeps nobody past the deadline, and who hangs up gives the place to the next", async () => {
    const { desk, gateway, call, stop, startAgain } = await start();
    await stop();
    const patient = Array.from({ length: 6 }, () => call("patient"));
    const gone = new AbortController();
    const leaving = Array.from({ length: 6 }, () => call("leaving", {}, gone.signal).catch(() => null));
    const hurried = Array.from({ length: 6 }, () =>
      call("hurried", { "x-headroom-deadline-ms": "1500" }).catch((error: unknown) => error),
    );
    for (const error of await Promise.all(hurried)) {
      expect(error).toBeInstanceOf(Anthropic.APIError);
      const { status, headers } = error as InstanceType<typeof Anthropic.APIError>;
      expect([status, headers?.get("x-headroom-shed")]).toEqual([529, "upstream_down"]);
    }
    expect(held(desk)).toBe(12);
    gone.abort();
    await Promise.all(leaving);
    await expect.poll(() => held(desk)).toBe(6);

    const simulator = await startAgain();
    expect((await Promise.all(patient)).map(({ type }) => type)).toEqual(patient.map(() => "message"));
    expect(simulator.ledger.sums.calls).toBe(6);
    expect(desk.snapshot()).toMatchObject({ waiting: 0, waitingBytes: 0, open: 0 });
    expect(desk.snapshot().ledgers.map(({ openStreams }) => openStreams)).toEqual([0]);
    const outcomes = gateway.records.calls.map(({ agent, outcome }) => `${agent} ${outcome}`);
    expect(outcomes.filter((one) => one === "leaving canceled")).toHaveLength(6);
  });
});

/** How many calls the ramp lets out within so many seconds. */
function callsAllowed(seconds: number): number {
  const worthS = OUTPUT / (LIMITS.output_tokens / 60);
  let allowed = 0;
  let { rate } = RAMP;
  for (let leftS = seconds; leftS > 0; leftS -= RAMP.stepS) {
    allowed += Math.min(leftS, RAMP.stepS) * rate;
    rate *= RAMP.growth;
  }
  return allowed / worthS;
}
