import { describe, expect, onTestFinished, test } from "vitest";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import type { Fault } from "../../lib/simulator/faults.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { openDoor, UNLIKE_DOORS } from "../support/gateway.ts";
import { Random } from "../support/random.ts";
import { type CallOutcome, makeCall, openAgent, planCall } from "../support/soak-traffic.ts";

const CALLS = 400;
const AT_ONCE = 40;
const POOLS = ["opus-5.5", "sonnet-5.5", "haiku-5.5", "haiku-4.5", "fable-5.x"];
/** What is taken in a run is some third of it, and what is refilled meanwhile far less. */
const LIMITS = { requests: 300, input_tokens: 600_000, output_tokens: 120_000 };
/** After these an upstream is left alone, or sent to slowly for minutes: that is another story. */
const SPARED: ReadonlySet<Fault | null> = new Set<Fault>(["spend-cap", "acceleration", "500"]);
/** Remaining tokens are told to the thousand, and refill goes on between two looks. */
const TOLERANCE = { requests: 3, input_tokens: 3_000, output_tokens: 3_000 };

describe.each(UNLIKE_DOORS)("through the %s door", (door) => {
  test("refusals, faults, cuts and hang-ups at any moment leave no room taken", { timeout: 180_000 }, async () => {
    const limits = Object.fromEntries(POOLS.map((pool) => [pool, LIMITS]));
    const simulator = await startSimulator({ seed: 6, slowHeadersMs: 60_000, pingMs: 20, limits });
    onTestFinished(simulator.close);
    const random = new Random(door === "socket" ? 51 : 52);
    const controller = new TrafficController({ random: () => random.next() });
    const desk = new TrafficDesk({ controller, clock: systemClock, expected: () => LIMITS });
    onTestFinished(() => desk.close());
    const gateway = await openDoor(door, simulator.url, { traffic: desk, believeLabels: true });
    onTestFinished(gateway.close);
    const agent = openAgent();
    onTestFinished(() => agent.destroy());

    const outcomes: CallOutcome[] = [];
    let next = 0;
    const client = async () => {
      while (next < CALLS) {
        next += 1;
        const plan = planCall(random, next);
        const headers = {
          ...plan.headers,
          "x-headroom-deadline-ms": String(500 + random.int(4_000)),
          // The ramp after a fault does not hold critical calls: so many get through.
          "x-headroom-class": random.pick(["critical", "normal"]),
        };
        outcomes.push(
          await makeCall(gateway.url, { ...plan, headers, ...(SPARED.has(plan.fault) ? { fault: "cut" } : {}) }, agent),
        );
        // Others take from the limits unseen, so that the upstream itself refuses too.
        if (next % 50 === 0) simulator.drain(random.pick(POOLS), { requests: 20, input_tokens: 40_000 });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, client));
    await expect.poll(() => gateway.gateway.openCalls, { timeout: 20_000 }).toBe(0);
    await simulator.idle();

    const { waiting, waitingBytes, open, ledgers } = desk.snapshot();
    expect({ waiting, waitingBytes, open }).toEqual({ waiting: 0, waitingBytes: 0, open: 0 });
    expect(ledgers.map(({ openStreams }) => openStreams)).toEqual(ledgers.map(() => 0));
    // The run was what it says.
    for (const ending of ["whole", "cut", "left"] as const) {
      expect(outcomes.filter((outcome) => outcome.ending === ending).length).toBeGreaterThan(0);
    }
    expect(desk.snapshot().counts.shed.deadline).toBeGreaterThan(0);
    expect(simulator.ledger.sums.byStatus["429"]).toBeGreaterThan(0);

    // One answer of each pool tells what the upstream's buckets hold; nothing that went wrong may still weigh on them.
    for (const model of ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5"]) {
      await sayHello(gateway.url, model);
      await sayHello(gateway.url, model);
    }
    const levels = simulator.levels();
    const told = desk.snapshot().ledgers.filter(({ pool }) => pool !== "fable-5.x");
    expect(told.map(({ pool }) => pool).sort()).toEqual(POOLS.filter((pool) => pool !== "fable-5.x").sort());
    const off = told.flatMap(({ pool, levels: mirrored }) =>
      mirrored.flatMap(({ limiter, level }) => {
        if (limiter === "tokens") return [];
        const difference = level - (levels[pool]?.[limiter].level ?? Number.NaN);
        return Math.abs(difference) <= TOLERANCE[limiter] ? [] : [`${pool} ${limiter}: off by ${difference}`];
      }),
    );
    expect(off).toEqual([]);
    expect(told.some(({ levels: [requests] }) => (requests?.level ?? 0) < 0.8 * LIMITS.requests)).toBe(true);
  });
});

async function sayHello(url: string, model: string): Promise<void> {
  const answer = await fetch(`${url}/v1/messages`, {
    method: "POST",
    headers: {
      ...{ "content-type": "application/json", "x-api-key": "sk-ant-1", "anthropic-version": "2023-06-01" },
      // Goes before all else, whatever is kept from others after such a run.
      "x-headroom-class": "critical",
    },
    body: JSON.stringify({ model, max_tokens: 1, messages: [{ role: "user", content: "hi" }] }),
  });
  await answer.text();
  expect(answer.status).toBe(200);
}
