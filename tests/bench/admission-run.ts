import { seeded } from "../../lib/simulator/seeded.ts";
import type { TraceCall } from "../../lib/simulator/trace.ts";
import { IndexedHeap } from "../../lib/traffic/indexed-heap.ts";

import { Books, type Figures } from "./admission-books.ts";
import { createPolicy, type Policy, type PolicyName, type World } from "./admission-policies.ts";
import { type Load, UpstreamModel, type UpstreamOptions } from "./admission-upstream.ts";
import {
  type Agent,
  arrivals,
  CLOSED_DEADLINE_S,
  createAgents,
  createJob,
  DEADLINES_S,
  exponential,
  foreignLoad,
  type Job,
  traceJobs,
  type WorkloadOptions,
} from "./admission-workload.ts";

export type Scenario = {
  name: string;
  upstream: UpstreamOptions;
  /** One upstream for each, with so much of the limits. */
  keys: readonly number[];
  workload: WorkloadOptions;
  foreign: boolean;
  trace?: readonly TraceCall[];
};

export const WARM_UP_S = 300;
export const END_S = 2_100;
const TICK_S = 0.1;
const PAUSE_AFTER_REFUSAL_S = 0.5;

type Flight = { job: Job; startedS: number };

/** Runs a scenario under a policy in virtual time: the same seed gives the same calls, whatever the policy. */
export function simulate(scenario: Scenario, policyName: PolicyName, seed: number): Figures {
  return new Simulation(scenario, policyName, seed).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #events = new IndexedHeap<(nowS: number) => void>();
  readonly #upstreams: UpstreamModel[];
  readonly #agents: Agent[];
  readonly #books = new Books();
  readonly #policy: Policy;
  readonly #seed: number;
  readonly #lastUpstream = new Map<string, number>();
  readonly #flights = new Set<Flight>();
  readonly #onDone = new Map<number, (nowS: number, served: boolean) => void>();
  #nowS = 0;
  #jobs = 0;

  constructor(scenario: Scenario, policyName: PolicyName, seed: number) {
    this.#scenario = scenario;
    this.#seed = seed;
    const { limits } = scenario.upstream;
    this.#upstreams = scenario.keys.map((part, index) => {
      const [requests, input, output] = limits;
      const own = { ...scenario.upstream, limits: [requests * part, input * part, output * part] as const };
      return new UpstreamModel(own, this.#stream(1_000 + index));
    });
    this.#agents = createAgents(scenario.workload, limits[2] / 60);
    const world: World = {
      random: this.#stream(2_000),
      send: (job, upstream) => this.#send(job, upstream),
      fail: (job, how) => {
        this.#books.failed(job, how);
        this.#done(job, false);
      },
      at: (timeS, what) => this.#at(timeS, what),
    };
    this.#policy = createPolicy(policyName, world, { limits, upstreams: scenario.keys.length });
  }

  run(): Figures {
    const { workload, trace } = this.#scenario;
    if (trace) this.#startTrace(trace);
    else if (workload.shape === "closed") this.#startWorkers();
    else this.#startAgents();
    if (this.#scenario.foreign) this.#startForeign();
    this.#tick();
    let isMeasuring = false;
    for (let next = this.#events.peek(); next && next.key < END_S; next = this.#events.peek()) {
      this.#events.remove(next);
      if (!isMeasuring && next.key >= WARM_UP_S) {
        isMeasuring = true;
        this.#books.start(this.#totals(WARM_UP_S), WARM_UP_S);
      }
      this.#nowS = next.key;
      next.item(next.key);
    }
    return this.#books.close(this.#totals(END_S));
  }

  #totals(nowS: number) {
    return this.#upstreams.map((upstream) => {
      upstream.settle(nowS);
      return upstream.totals();
    });
  }

  /**
   * All calls are drawn before the first, and their answers stretched by the few per cent that bring the output offered in
   * the window to the scenario's load: what is measured is then the policy, and not the luck of the draw.
   */
  #startAgents(): void {
    const { workload } = this.#scenario;
    const jobs = this.#agents.flatMap((agent) => {
      const random = this.#stream(100 + agent.id);
      return [...arrivals(agent, workload, END_S, this.#stream(agent.id))].map((atS) =>
        createJob(agent, this.#jobs++, atS, atS + DEADLINES_S[agent.class], random),
      );
    });
    let offered = 0;
    let wanted = 0;
    for (const job of jobs) if (job.arrivedS >= WARM_UP_S) offered += job.output;
    const { step } = workload;
    const stepped = step ? (END_S - Math.max(step.atS, WARM_UP_S)) * (step.load / workload.load - 1) : 0;
    for (const agent of this.#agents) wanted += agent.rate * agent.meanOutput * (END_S - WARM_UP_S + stepped);
    for (const job of jobs) {
      const output = Math.min(job.maxTokens, (job.output * wanted) / Math.max(1, offered));
      this.#at(job.arrivedS, (nowS) => this.#offer({ ...job, output }, nowS));
    }
  }

  #startWorkers(): void {
    for (const agent of this.#agents) {
      const workers = Math.max(1, Math.round(agent.rate * (3 + agent.meanOutput / 58)));
      for (let worker = 0; worker < workers; worker += 1) {
        const random = this.#stream(10_000 + 100 * agent.id + worker);
        const work = (nowS: number) => {
          const job = createJob(agent, this.#jobs++, nowS, nowS + CLOSED_DEADLINE_S, random);
          this.#onDone.set(job.id, (doneS, served) => {
            this.#at(doneS + (served ? exponential(random, 2) : PAUSE_AFTER_REFUSAL_S), work);
          });
          this.#offer(job, nowS);
        };
        this.#at(exponential(random, 2), work);
      }
    }
  }

  #startTrace(trace: readonly TraceCall[]): void {
    const { workload, upstream } = this.#scenario;
    const options = { load: workload.load, limits: upstream.limits, endS: END_S, random: this.#stream(3_000) };
    for (const job of traceJobs(trace, this.#agents, options)) this.#at(job.arrivedS, (nowS) => this.#offer(job, nowS));
  }

  #startForeign(): void {
    const random = this.#stream(4_000);
    const meanS = 900 / (0.2 * (this.#scenario.upstream.limits[2] / 60));
    const send = (load: Load, tried: number, nowS: number) => {
      const verdict = this.#upstreams[0]?.admit(load, nowS);
      if (!verdict) return;
      if (verdict.ok)
        this.#answer(0, verdict.open, 0.4 + exponential(random, 0.4) + load.input / 40_000, nowS, () => {});
      else if (tried < 2) this.#at(nowS + (verdict.retryAfterS ?? 1), (laterS) => send(load, tried + 1, laterS));
    };
    const next = (nowS: number) => {
      send(foreignLoad(this.#agents, random), 0, nowS);
      this.#at(nowS + exponential(random, meanS), next);
    };
    this.#at(exponential(random, meanS), next);
  }

  #offer(job: Job, nowS: number): void {
    this.#books.offered(job);
    this.#policy.arrive(job, nowS);
  }

  #send(job: Job, upstream: number): void {
    const nowS = this.#nowS;
    const last = this.#lastUpstream.get(job.agent) ?? upstream;
    this.#lastUpstream.set(job.agent, upstream);
    // A prompt cache belongs to one organisation: elsewhere the whole prompt counts.
    const uncached = last === upstream ? job.uncached : job.input;
    const { input, output, maxTokens, tokensPerS } = job;
    const verdict = this.#upstreams[upstream]?.admit(
      { input, uncached, output, maxTokens, tokensPerS, foreign: false },
      nowS,
    );
    if (!verdict) throw new RangeError(`there is no upstream ${upstream}`);
    this.#books.sent(verdict.ok ? 200 : verdict.status);
    if (!verdict.ok) {
      this.#at(nowS + verdict.afterS, (laterS) => this.#policy.refused(job, verdict, laterS));
      return;
    }
    const sentS = nowS;
    this.#books.served(job, uncached, sentS);
    const { limits } = verdict;
    let flight: Flight | null = null;
    const started = (startS: number) => {
      flight = { job, startedS: startS };
      this.#flights.add(flight);
      this.#policy.head(job, { limits, uncached }, startS);
    };
    this.#answer(
      upstream,
      verdict.open,
      job.firstTokenS,
      nowS,
      (endS) => {
        if (flight) this.#flights.delete(flight);
        this.#policy.end(job, { uncached }, endS);
        this.#done(job, true);
      },
      started,
    );
  }

  #answer(
    upstream: number,
    open: Parameters<UpstreamModel["begin"]>[0],
    firstTokenS: number,
    nowS: number,
    ended: (nowS: number) => void,
    started: (nowS: number) => void = () => {},
  ): void {
    this.#at(nowS + firstTokenS, (startS) => {
      this.#upstreams[upstream]?.begin(open, startS);
      started(startS);
      this.#at(startS + open.load.output / open.load.tokensPerS, (endS) => {
        this.#upstreams[upstream]?.end(open, endS);
        ended(endS);
      });
    });
  }

  /** What the gateway counts of streams in passing. */
  #tick(): void {
    this.#at(this.#nowS + TICK_S, (nowS) => {
      for (const { job, startedS } of this.#flights) {
        const produced = Math.min(job.output, job.tokensPerS * (nowS - startedS));
        this.#policy.progress(job, Math.floor(produced * job.countError), nowS);
      }
      this.#tick();
    });
  }

  #done(job: Job, served: boolean): void {
    this.#onDone.get(job.id)?.(this.#nowS, served);
    this.#onDone.delete(job.id);
  }

  #at(timeS: number, what: (nowS: number) => void): void {
    this.#events.push(Math.max(timeS, this.#nowS), what);
  }

  #stream(salt: number): () => number {
    return seeded(Math.imul(this.#seed, 2_654_435_761) ^ Math.imul(salt + 1, 40_503));
  }
}
