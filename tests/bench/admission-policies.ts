import { LIMITERS } from "../../lib/anthropic/pools.ts";
import type { LimitReadings } from "../../lib/traffic/dimensions.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import type { Verdict } from "./admission-upstream.ts";
import type { Job } from "./admission-workload.ts";
import { ReferencePolicy } from "./reference/policy.ts";

/** What a policy may do to the world. */
export type World = {
  readonly random: () => number;
  /** Sends a call to an upstream, now. */
  send(job: Job, upstream: number): void;
  /** Ends a call without an answer: the caller gets a 429 of the upstream's, or is refused by the gateway. */
  fail(job: Job, how: "client429" | "shed"): void;
  at(timeS: number, what: (nowS: number) => void): void;
};

export type Refused = Extract<Verdict, { ok: false }>;

/** A gateway's way with calls, told of everything that happens and when. */
export type Policy = {
  arrive(job: Job, nowS: number): void;
  refused(job: Job, refusal: Refused, nowS: number): void;
  head(job: Job, answer: { limits: LimitReadings; uncached: number }, nowS: number): void;
  /** About ten times a second while the answer streams. */
  progress(job: Job, tokens: number, nowS: number): void;
  end(job: Job, answer: { uncached: number }, nowS: number): void;
};

export const POLICIES = ["pass-through", "fifo-32", "window-80", "reference", "headroom"] as const;
export type PolicyName = (typeof POLICIES)[number];

export function createPolicy(
  name: PolicyName,
  world: World,
  setup: { limits: readonly number[]; upstreams: number },
): Policy {
  switch (name) {
    case "pass-through":
      return passThrough(world);
    case "fifo-32":
      return queued(world, cap(32));
    case "window-80":
      return queued(world, minuteWindow(setup.limits.map((limit) => 0.8 * limit)));
    case "reference":
      return new ReferencePolicy(world, setup.upstreams);
    case "headroom":
      return headroom(world, setup.upstreams);
  }
}

/** The SDK's retries: two, after `retry-after`, or 0.5·2ⁿ seconds less up to a quarter. */
function sdkRetries(world: World, again: (job: Job, nowS: number) => void) {
  const tries = new Map<number, number>();
  return (job: Job, refusal: Refused, nowS: number) => {
    const tried = tries.get(job.id) ?? 0;
    tries.set(job.id, tried + 1);
    if (tried >= 2) return world.fail(job, "client429");
    const backoffS = Math.min(8, 0.5 * 2 ** tried) * (1 - 0.25 * world.random());
    world.at(nowS + (refusal.retryAfterS ?? backoffS), (laterS) => again(job, laterS));
  };
}

function passThrough(world: World): Policy {
  const send = (job: Job) => world.send(job, 0);
  return { arrive: send, refused: sdkRetries(world, send), head() {}, progress() {}, end() {} };
}

type Window = {
  allows(job: Job, nowS: number): boolean;
  sent(job: Job, nowS: number): void;
  ended(job: Job, nowS: number, served: boolean): void;
};

/** First in, first out, as far as the window lets calls through; what has waited past its deadline is dropped. */
function queued(world: World, window: Window): Policy {
  const queue: Job[] = [];
  let isAwake = false;
  const pump = (nowS: number) => {
    for (let job = queue[0]; job; job = queue[0]) {
      if (job.deadlineS > nowS && !window.allows(job, nowS)) break;
      queue.shift();
      if (job.deadlineS <= nowS) {
        world.fail(job, "shed");
        continue;
      }
      window.sent(job, nowS);
      world.send(job, 0);
    }
    if (queue.length === 0 || isAwake) return;
    isAwake = true;
    world.at(nowS + 0.25, (laterS) => {
      isAwake = false;
      pump(laterS);
    });
  };
  const enqueue = (job: Job, nowS: number) => {
    queue.push(job);
    pump(nowS);
  };
  const retry = sdkRetries(world, enqueue);
  return {
    arrive: enqueue,
    refused(job, refusal, nowS) {
      window.ended(job, nowS, false);
      retry(job, refusal, nowS);
      pump(nowS);
    },
    head() {},
    progress() {},
    end(job, _, nowS) {
      window.ended(job, nowS, true);
      pump(nowS);
    },
  };
}

function cap(most: number): Window {
  let open = 0;
  return {
    allows: () => open < most,
    sent: () => {
      open += 1;
    },
    ended: () => {
      open -= 1;
    },
  };
}

/** Counts by the minute of the clock: requests and guessed input when sent, output when the answer is whole. */
function minuteWindow(limits: readonly number[]): Window {
  let minute = -1;
  let used = [0, 0, 0];
  const roll = (nowS: number) => {
    const current = Math.floor(nowS / 60);
    if (current !== minute) used = [0, 0, 0];
    minute = current;
  };
  const add = (index: number, amount: number) => {
    used[index] = (used[index] ?? 0) + amount;
  };
  return {
    allows: (job, nowS) => {
      roll(nowS);
      const needs = [1, Math.min(job.guessedInput, limits[1] ?? 0), 1];
      return needs.every((need, index) => (used[index] ?? 0) + need <= (limits[index] ?? 0));
    },
    sent: (job, nowS) => {
      roll(nowS);
      add(0, 1);
      add(1, job.guessedInput);
    },
    ended: (job, nowS, served) => {
      roll(nowS);
      if (served) add(2, job.output);
    },
  };
}

/** Headroom's own, through the same doors as the gateway uses. */
function headroom(world: World, upstreams: number): Policy {
  const controller = new TrafficController({ random: world.random });
  const names = Array.from({ length: upstreams }, (_, index) => `key-${index}`);
  controller.setGroup("default", names, 0);
  const jobs = new Map<number, Job>();
  const tickets = new Map<number, number>();
  let wakeS = Number.POSITIVE_INFINITY;
  const pump = (nowS: number) => {
    const { admitted, shed, wakeAtS } = controller.pump(nowS);
    for (const { id, upstream } of admitted) {
      const job = jobs.get(id);
      if (job) world.send(job, names.indexOf(upstream));
    }
    for (const { id } of shed) {
      const job = jobs.get(id);
      jobs.delete(id);
      if (job) world.fail(job, "shed");
    }
    if (wakeAtS === null || wakeAtS >= wakeS - 1e-9) return;
    const dueS = Math.max(wakeAtS, nowS + 0.001);
    wakeS = dueS;
    world.at(dueS, (laterS) => {
      if (wakeS !== dueS) return;
      wakeS = Number.POSITIVE_INFINITY;
      pump(laterS);
    });
  };
  const ticketOf = (job: Job) => tickets.get(job.id) ?? 0;
  return {
    arrive(job, nowS) {
      const arrival = controller.arrive(
        {
          ...{ group: "default", pool: "bench", lane: "standard", class: job.class, agent: job.agent, model: "bench" },
          ...{ bytes: 4 * job.guessedInput, maxTokens: job.maxTokens, streams: true },
          deadlineS: job.deadlineS - job.arrivedS,
        },
        nowS,
      );
      if (arrival.admitted === false) world.fail(job, "shed");
      else {
        tickets.set(job.id, arrival.id);
        jobs.set(arrival.id, job);
      }
      pump(nowS);
    },
    refused(job, refusal, nowS) {
      const { status, cause, retryAfterS, limits } = refusal;
      // The cause is the body's to tell; a growth limit does not always name itself, and must be recognised without.
      const empty = LIMITERS.find((limiter) => limits[limiter]?.remaining === 0) ?? null;
      const outcome = controller.refused(
        ticketOf(job),
        { status, cause: status === 529 ? "overloaded" : cause === null ? empty : null, retryAfterS, limits },
        nowS,
      );
      if (!outcome.requeued) {
        jobs.delete(ticketOf(job));
        world.fail(job, status === 429 ? "client429" : "shed");
      }
      pump(nowS);
    },
    head(job, { limits, uncached }, nowS) {
      const input = { uncachedInputTokens: uncached, totalInputTokens: job.input };
      controller.head(ticketOf(job), { limits, ...input }, nowS);
      pump(nowS);
    },
    progress(job, tokens) {
      controller.progress(ticketOf(job), tokens);
    },
    end(job, { uncached }, nowS) {
      const input = { uncachedInputTokens: uncached, totalInputTokens: job.input };
      controller.end(ticketOf(job), { ...input, outputTokens: Math.round(job.output) }, nowS);
      jobs.delete(ticketOf(job));
      pump(nowS);
    },
  };
}
