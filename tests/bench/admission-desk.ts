import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import type { Clock } from "../../lib/kit/clock.ts";
import { logNormal, seeded } from "../../lib/simulator/seeded.ts";
import type { LimitReading } from "../../lib/traffic/dimensions.ts";
import { CLASSES } from "../../lib/traffic/schema.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";

export type DeskCost = { arrivalsPerS: number; agents: number; standing: number; open: number; usPerCall: number };

const PER_SECOND = 500;
const AGENTS = 24;
const STANDING = 1_000;
const MEASURED_CALLS = 60_000;
const FIRST_TOKEN_STEPS = 300;
const TOKENS_PER_S = 60;
/** Each open stream tells ten times a second how far it is: some fifty times in all. */
const PROGRESS_STEPS = 50;
const INPUT = 600;
/** What is refilled is what arrives, so that the queue neither grows nor ends. */
const LIMITS = { requests: 60 * PER_SECOND, input_tokens: 120 * PER_SECOND * INPUT, output_tokens: 60_000_000 };
const GROUP = "default";
const PLACE = { group: GROUP, pool: "sonnet-5.5", lane: "standard", model: "claude-sonnet-5-5" } as const;

type Stream = { id: number; headAt: number; output: number };

/**
 * CPU that traffic control takes of a call while 500 arrive each second and a thousand wait: the desk as the gateway
 * drives it, with arrival, answer, progress and end of each, a pump after all but progress, and limits in each answer.
 * Time is virtual, and what the driver itself takes is counted too.
 */
export function measureDesk(): DeskCost {
  const random = seeded(1);
  let step = 0;
  const clock: Clock = { now: () => step * (1_000 / PER_SECOND), monotonic: () => step * (1_000 / PER_SECOND) };
  const desk = new TrafficDesk({ controller: new TrafficController({ random }), clock, expected: () => LIMITS });
  const heads = new Map<number, Stream[]>();
  const ends = new Map<number, Stream[]>();
  const streams = new Set<Stream>();
  let waiting = 0;
  let open = 0;
  let requests: number = LIMITS.requests;
  let arrived = 0;

  const schedule = (on: Map<number, Stream[]>, when: number, stream: Stream) => {
    const others = on.get(when);
    if (others) others.push(stream);
    else on.set(when, [stream]);
  };
  const sent = (id: number, output: number) => {
    waiting -= 1;
    open += 1;
    requests -= 1;
    const stream = { id, headAt: step + FIRST_TOKEN_STEPS, output };
    const steps = Math.ceil((output / TOKENS_PER_S) * PER_SECOND);
    schedule(heads, stream.headAt, stream);
    schedule(ends, stream.headAt + steps + 1, stream);
  };
  const arrive = () => {
    const index = arrived++ % AGENTS;
    const output = Math.round(Math.min(2_000, Math.max(10, logNormal(random, 200, 0.9))));
    const call = {
      ...{ ...PLACE, class: CLASSES[index % 4] ?? "normal", agent: `agent-${index}` },
      ...{ bytes: 2_048, maxTokens: 4_096, streams: true, deadlineS: 540 },
    };
    let ticket: number | null = null;
    let goesAtOnce = false;
    waiting += 1;
    ticket = desk.arrive(call, {
      go: () => {
        if (ticket === null) goesAtOnce = true;
        else sent(ticket, output);
      },
      shed: () => {
        throw new Error("a call was refused");
      },
    });
    if (goesAtOnce && ticket !== null) sent(ticket, output);
    desk.pump();
  };
  const reading = (limit: number, remaining: number): LimitReading => ({
    ...{ limit, remaining: Math.max(0, Math.floor(remaining)) },
    resetInS: Math.ceil(((limit - remaining) * 60) / limit),
  });
  const begin = (stream: Stream) => {
    streams.add(stream);
    const limits = {
      requests: reading(LIMITS.requests, requests),
      input_tokens: reading(LIMITS.input_tokens, LIMITS.input_tokens),
      output_tokens: reading(LIMITS.output_tokens, LIMITS.output_tokens),
    };
    desk.head(stream.id, GROUP, { limits, uncachedInputTokens: INPUT, totalInputTokens: INPUT });
  };
  const end = (stream: Stream) => {
    streams.delete(stream);
    open -= 1;
    desk.end(stream.id, { uncachedInputTokens: INPUT, totalInputTokens: INPUT, outputTokens: stream.output });
  };
  const advance = (arrivals: number) => {
    step += 1;
    requests = Math.min(LIMITS.requests, requests + LIMITS.requests / 60 / PER_SECOND);
    for (let count = 0; count < arrivals; count += 1) arrive();
    for (const stream of heads.get(step) ?? []) begin(stream);
    for (const stream of ends.get(step) ?? []) end(stream);
    heads.delete(step);
    ends.delete(step);
    if (step % PROGRESS_STEPS !== 0) return;
    for (const { id, headAt } of streams) desk.progress(id, ((step - headAt) / PER_SECOND) * TOKENS_PER_S);
  };

  // Twice as much as is refilled comes until the buckets are empty and the queue stands.
  while (waiting < STANDING) advance(2);
  let waited = 0;
  let opened = 0;
  const before = process.cpuUsage();
  for (let calls = 0; calls < MEASURED_CALLS; calls += 1) {
    advance(1);
    waited += waiting;
    opened += open;
  }
  const { user, system } = process.cpuUsage(before);
  desk.close();
  return {
    ...{ arrivalsPerS: PER_SECOND, agents: AGENTS, standing: Math.round(waited / MEASURED_CALLS) },
    open: Math.round(opened / MEASURED_CALLS),
    usPerCall: Math.round((10 * (user + system)) / MEASURED_CALLS) / 10,
  };
}
