import { LIMITERS } from "../../../lib/anthropic/pools.ts";
import { CLASSES as CLASS_NAMES } from "../../../lib/traffic/schema.ts";
import type { Policy, Refused, World } from "../admission-policies.ts";
import type { Job } from "../admission-workload.ts";
import { Estimates } from "./estimates.ts";
import { CLASSES, n } from "./reserves.ts";
import { type Cost, type Stream, Upstream } from "./upstream.ts";

const GUARANTEES = [0, 0.15, 0.1, 0.05] as const;
const USUAL_LIMITS = [1_000, 450_000, 90_000] as const;
const CACHE_BONUS = 0.25;
const PUMP_S = 0.05;

type Waiting = { job: Job; tries: number; notBeforeS: number[] };
type AgentQueue = { waiting: Waiting[]; time: number };

/**
 * The rules that Headroom's own grew from, fixed as they were and sharing no code with it: what an improvement is
 * measured against, on the same calls.
 */
export class ReferencePolicy implements Policy {
  readonly #world: World;
  readonly #estimates = new Estimates();
  readonly #upstreams: Upstream[];
  readonly #queues = CLASSES.map(() => new Map<string, AgentQueue>());
  readonly #least = CLASSES.map(() => 0);
  readonly #service = CLASSES.map(() => 0);
  readonly #sent = new Map<number, { waiting: Waiting; stream: Stream; key: number; charged: number }>();
  readonly #lastKey = new Map<string, number>();
  #standing = 0;
  #nowS = 0;
  #expiredS = 0;
  #stoodS = 0;
  #isAwake = false;

  constructor(world: World, upstreams: number) {
    this.#world = world;
    this.#upstreams = Array.from({ length: upstreams }, () => new Upstream(this.#estimates));
  }

  arrive(job: Job, nowS: number): void {
    this.#tick(nowS);
    const cost = this.#costOf(job);
    const rates = this.#upstreams.reduce((sum, { ledger }) => sum + n(ledger.rate, 2), 0);
    for (const { ledger, reserves } of this.#upstreams) {
      if (!ledger.isKnown) continue;
      const part = n(ledger.rate, 2) / rates;
      reserves.arrive(classOf(job), [1, cost.input * part, cost.output * part], ledger, nowS);
    }
    const queue = this.#queueOf(job);
    if (queue.waiting.length === 0) queue.time = Math.max(queue.time, n(this.#least, classOf(job)));
    queue.waiting.push({ job, tries: 0, notBeforeS: [] });
    this.#pump(nowS);
  }

  head(job: Job, { limits, uncached }: Parameters<Policy["head"]>[1], nowS: number): void {
    const sent = this.#sent.get(job.id);
    if (!sent) return;
    this.#tick(nowS);
    const upstream = this.#upstream(sent.key);
    this.#estimates.learnInput(job.agent, uncached, job.input);
    upstream.head(sent.stream, uncached, nowS);
    upstream.ledger.observe(limits, sent.stream);
    this.#pump(nowS);
  }

  progress(job: Job, tokens: number): void {
    const sent = this.#sent.get(job.id);
    if (sent) this.#upstream(sent.key).progress(sent.stream, tokens);
  }

  end(job: Job, { uncached }: { uncached: number }, nowS: number): void {
    const sent = this.#sent.get(job.id);
    if (!sent) return;
    this.#sent.delete(job.id);
    this.#tick(nowS);
    this.#estimates.learnOutput(job.agent, job.output);
    this.#upstream(sent.key).end(sent.stream, job.output, nowS);
    this.#charge(job, this.#share({ input: uncached, output: job.output }) - sent.charged);
    this.#pump(nowS);
  }

  refused(job: Job, { status, retryAfterS, limits }: Refused, nowS: number): void {
    const sent = this.#sent.get(job.id);
    if (!sent) return;
    this.#sent.delete(job.id);
    this.#tick(nowS);
    const { waiting, stream, key } = sent;
    const upstream = this.#upstream(key);
    upstream.refuse(stream, nowS);
    this.#charge(job, -sent.charged);
    upstream.ledger.observe(limits, null);
    const u = this.#world.random();
    let waitS = (retryAfterS ?? 1) * (1 + 0.1 * u);
    if (status === 529) {
      waitS = Math.min(8, 0.5 * 2 ** Math.min(4, waiting.tries)) * (1 - 0.25 * u);
      upstream.cut({ factor: 0.85, floor: 0.25, holdS: 60 }, 0, nowS);
    } else {
      const needs = [1, 1.3 * job.guessedInput, upstream.ledger.mode === "reserve" ? job.maxTokens : 1];
      const isEmpty = needs.some((need, d) => (limits[LIMITERS[d] ?? "requests"]?.remaining ?? need) < need);
      if (!isEmpty) upstream.cut({ factor: 0.7, floor: 0.1, holdS: 600 }, Math.min(retryAfterS ?? 1, 10), nowS);
    }
    waiting.tries += 1;
    if (status === 529 && waiting.tries >= 6) this.#world.fail(job, "shed");
    else {
      waiting.notBeforeS[key] = nowS + waitS;
      this.#queueOf(job).waiting.unshift(waiting);
    }
    this.#pump(nowS);
  }

  #tick(nowS: number): void {
    const fade = Math.exp(-(nowS - this.#nowS) / 60);
    for (const index of CLASSES) this.#service[index] = n(this.#service, index) * fade;
    this.#nowS = nowS;
    for (const upstream of this.#upstreams) upstream.tick(nowS);
    for (; nowS - this.#stoodS >= 1; this.#stoodS += 1) {
      const heads = this.#queues.flatMap((agents) => [...agents.values()].flatMap(({ waiting }) => waiting[0] ?? []));
      const stands = heads.some(({ job }) => nowS - job.arrivedS > 5);
      this.#standing = Math.min(1, Math.max(0, this.#standing + (stands ? 0.05 : -0.05)));
    }
  }

  #pump(nowS: number): void {
    if (nowS - this.#expiredS >= 0.5) this.#expire(nowS);
    for (let next = this.#next(nowS); next; next = this.#next(nowS)) {
      const { queue, waiting, gatedAs } = next;
      const cost = this.#costOf(waiting.job);
      const key = this.#choose(waiting, cost, gatedAs, nowS);
      if (key === null) break;
      queue.waiting.shift();
      this.#send(queue, waiting, cost, key, nowS);
    }
    if (this.#isAwake || !this.#queues.some((agents) => [...agents.values()].some(({ waiting }) => waiting.length > 0)))
      return;
    this.#isAwake = true;
    this.#world.at(nowS + PUMP_S, (laterS) => {
      this.#isAwake = false;
      this.#tick(laterS);
      this.#pump(laterS);
    });
  }

  /** The class whose turn it is, and of its agents the one that had least. */
  #next(nowS: number): { queue: AgentQueue; waiting: Waiting; gatedAs: number } | null {
    const ready = this.#queues.map((agents) => this.#leastOf(agents, nowS));
    const top = CLASSES.find((index) => ready[index]);
    if (top === undefined) return null;
    const total = this.#service.reduce((sum, one) => sum + one, 0);
    const part = (index: number) => n(this.#service, index) / (n(GUARANTEES, index) * total);
    const owed = CLASSES.filter((index) => index > top && ready[index] && part(index) < 1).sort(
      (a, b) => part(a) - part(b),
    )[0];
    const isCriticalFirst = top === 0 && n(this.#service, 0) < 0.6 * total;
    const chosen = owed === undefined || isCriticalFirst ? top : owed;
    const found = ready[chosen];
    return found ? { ...found, gatedAs: chosen === top ? top : Math.min(top, 1) } : null;
  }

  #leastOf(agents: Map<string, AgentQueue>, nowS: number): { queue: AgentQueue; waiting: Waiting } | null {
    let least: { queue: AgentQueue; waiting: Waiting } | null = null;
    for (const queue of agents.values()) {
      const waiting = queue.waiting[0];
      if (!waiting || this.#upstreams.every((_, key) => n(waiting.notBeforeS, key) > nowS)) continue;
      if (!least || queue.time < least.queue.time) least = { queue, waiting };
    }
    return least;
  }

  #choose({ job, notBeforeS }: Waiting, cost: Cost, gatedAs: number, nowS: number): number | null {
    const last = this.#lastKey.get(job.agent);
    const ranked = this.#upstreams
      .map((upstream, key) => ({ upstream, key, score: upstream.roomAfter(cost) + (key === last ? CACHE_BONUS : 0) }))
      .sort((a, b) => b.score - a.score);
    const found = ranked.find(({ upstream, key }) => {
      if (n(notBeforeS, key) > nowS) return false;
      return upstream.allows(job, cost, classOf(job), gatedAs, this.#standing, nowS);
    });
    return found?.key ?? null;
  }

  #send(queue: AgentQueue, waiting: Waiting, cost: Cost, key: number, nowS: number): void {
    const { job } = waiting;
    const index = classOf(job);
    this.#least[index] = Math.max(n(this.#least, index), queue.time);
    const charged = this.#share(cost);
    const stream = this.#upstream(key).send(job, cost, nowS);
    this.#sent.set(job.id, { waiting, stream, key, charged });
    this.#charge(job, charged);
    this.#lastKey.set(job.agent, key);
    this.#world.send(job, key);
  }

  #expire(nowS: number): void {
    this.#expiredS = nowS;
    for (const agents of this.#queues) {
      for (const queue of agents.values()) {
        const late = queue.waiting.filter(({ job }) => job.deadlineS <= nowS);
        if (late.length === 0) continue;
        queue.waiting = queue.waiting.filter(({ job }) => job.deadlineS > nowS);
        for (const { job } of late) this.#world.fail(job, "shed");
      }
    }
  }

  #charge(job: Job, cost: number): void {
    const index = classOf(job);
    this.#queueOf(job).time += cost;
    this.#service[index] = n(this.#service, index) + cost;
  }

  /** Minutes of limit. */
  #share({ input, output }: Cost): number {
    const limit = (d: number) => {
      const known = this.#upstreams.reduce((sum, { ledger }) => sum + n(ledger.limit, d), 0);
      return known > 0 ? known : n(USUAL_LIMITS, d);
    };
    return 1 / limit(0) + input / limit(1) + output / limit(2);
  }

  #costOf({ agent, guessedInput, maxTokens }: Job): Cost {
    return {
      input: this.#estimates.input(agent, guessedInput),
      output: this.#estimates.remaining(agent, 0, maxTokens),
    };
  }

  #queueOf(job: Job): AgentQueue {
    const agents = this.#queues[classOf(job)];
    const known = agents?.get(job.agent);
    if (known) return known;
    const fresh: AgentQueue = { waiting: [], time: 0 };
    agents?.set(job.agent, fresh);
    return fresh;
  }

  #upstream(key: number): Upstream {
    const found = this.#upstreams[key];
    if (!found) throw new RangeError(`there is no upstream ${key}`);
    return found;
  }
}

function classOf(job: Job): number {
  return CLASS_NAMES.indexOf(job.class);
}
