import { expect } from "vitest";
import type { LimitReadings } from "../../lib/traffic/dimensions.ts";
import { IndexedHeap } from "../../lib/traffic/indexed-heap.ts";
import { CLASSES } from "../../lib/traffic/schema.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { type Load, UpstreamModel } from "../bench/admission-upstream.ts";
import { Random } from "../support/random.ts";

export const TRAFFIC_KINDS = ["mixed", "foreign", "reserve", "stormy", "tiny", "two upstreams", "untold"] as const;
export type TrafficKind = (typeof TRAFFIC_KINDS)[number];

type Call = {
  id: number;
  /** The how many-eth to arrive. */
  order: number;
  agent: string;
  deadlineS: number;
  state: "waiting" | "out" | "over";
  notBefore: Map<string, number>;
  hasComeBack: boolean;
  load: Load;
};

/**
 * Random agents before a controller and exact upstreams behind it: calls come in bursts, hang up, break off; upstreams
 * refuse, fail, and are used by others. It checks every decision, and every few steps what must always hold.
 */
export class World {
  readonly log: string[] = [];
  #arrived = 0;
  readonly #random: Random;
  readonly #controller: TrafficController;
  readonly #upstreams = new Map<string, UpstreamModel>();
  readonly #events = new IndexedHeap<(nowS: number) => void>();
  readonly #calls = new Map<number, Call>();
  readonly #kind: TrafficKind;
  #wokenS = -1;

  constructor(kind: TrafficKind, seed: number) {
    this.#kind = kind;
    this.#random = new Random(seed);
    const random = () => this.#random.next();
    this.#controller = new TrafficController({ random });
    if (kind === "untold") {
      this.#controller.expectLimits(() => ({ requests: 3_000, input_tokens: 1_500_000, output_tokens: 300_000 }));
    }
    const names = kind === "two upstreams" ? ["a", "b"] : ["a"];
    this.#controller.setGroup("default", names, 0);
    for (const name of names) {
      const options = {
        limits: kind === "tiny" ? ([30, 20_000, 6_000] as const) : ([600, 300_000, 60_000] as const),
        burstS: 60,
        accounting: kind === "reserve" ? ("reserve" as const) : ("continuous" as const),
        ...{ fullThenAdjust: false, acceleration: kind === "stormy", limitChange: null },
        storm: kind === "stormy" ? { fromS: 60, toS: 90, share: 0.8 } : null,
      };
      this.#upstreams.set(name, new UpstreamModel(options, random));
    }
  }

  run(untilS: number): void {
    this.#nextArrival(0, untilS);
    if (this.#kind === "foreign") this.#nextForeign(0);
    const lastDeadlineS = untilS + 900;
    let steps = 0;
    for (let next = this.#events.peek(); next && next.key < lastDeadlineS; next = this.#events.peek()) {
      this.#events.remove(next);
      next.item(next.key);
      this.#pump(next.key);
      steps += 1;
      if (steps % 6 === 0) this.#check(next.key);
    }
    const left = [...this.#calls.values()].filter(({ state }) => state !== "over");
    expect(left).toEqual([]);
    expect(this.#controller.snapshot(lastDeadlineS)).toMatchObject({ waiting: 0, waitingBytes: 0, open: 0 });
    // What counts calls has counted none too many: it would never be forgotten.
    this.#controller.pump(lastDeadlineS + 10_000);
    expect(this.#controller.snapshot(lastDeadlineS + 10_000)).toMatchObject({ queues: [] });
  }

  #nextArrival(nowS: number, untilS: number): void {
    const gapS = this.#random.next() < 0.1 ? 5 * this.#random.next() : 0.2 * this.#random.next();
    if (nowS + gapS > untilS) return;
    this.#at(nowS + gapS, (atS) => {
      this.#arrive(atS);
      this.#nextArrival(atS, untilS);
    });
  }

  #nextForeign(nowS: number): void {
    if (nowS > 300) return;
    this.#at(nowS + 4 * this.#random.next(), (atS) => {
      const load = { input: 4_000, uncached: 4_000, output: 1_200, maxTokens: 4_096, tokensPerS: 60, foreign: true };
      const verdict = this.#upstreams.get("a")?.admit(load, atS);
      if (verdict?.ok) {
        this.#upstreams.get("a")?.begin(verdict.open, atS);
        this.#at(atS + 20, (endS) => this.#upstreams.get("a")?.end(verdict.open, endS));
      }
      this.#nextForeign(atS);
    });
  }

  #arrive(nowS: number): void {
    const random = this.#random;
    const agent = `agent-${random.int(8)}`;
    const input = 50 + random.int(random.next() < 0.05 ? 60_000 : 4_000);
    const output = 20 + random.int(random.next() < 0.1 ? 4_000 : 500);
    const deadlineS = random.next() < 0.3 ? 2 + random.int(30) : null;
    const of = random.pick(CLASSES);
    const arrival = this.#controller.arrive(
      {
        ...{ group: "default", pool: "pool", lane: "standard", class: of, agent: `${agent}/${of}`, model: "model" },
        ...{ bytes: 4 * input, maxTokens: 8_192, streams: random.next() < 0.7, deadlineS },
      },
      nowS,
    );
    if (arrival.admitted === false) throw new Error(`${arrival.reason}: nothing here fills the queue`);
    const defaults = { critical: 60, high: 120, normal: 240, low: 480 };
    const load = { input, uncached: input, output, maxTokens: 8_192, tokensPerS: 30 + random.int(60), foreign: false };
    this.#arrived += 1;
    this.#calls.set(arrival.id, {
      ...{
        id: arrival.id,
        order: this.#arrived,
        agent: `${agent}/${of}`,
        deadlineS: nowS + (deadlineS ?? defaults[of]),
        state: "waiting",
        load,
      },
      ...{ notBefore: new Map(), hasComeBack: false },
    });
    if (random.next() < 0.05) this.#at(nowS + 10 * random.next(), (atS) => this.#hangUp(arrival.id, atS));
  }

  #hangUp(id: number, nowS: number): void {
    const call = this.#calls.get(id);
    if (call?.state !== "waiting") return;
    this.#controller.cancel(id, nowS);
    call.state = "over";
  }

  #pump(nowS: number): void {
    const { admitted, shed, wakeAtS } = this.#controller.pump(nowS);
    for (const { id, refusal } of shed) {
      const call = this.#waiting(id);
      expect(nowS).toBeGreaterThanOrEqual(call.deadlineS);
      expect(["deadline", "upstream_down"]).toContain(refusal.reason);
      expect(refusal.retryAfterMs).toBeGreaterThanOrEqual(900);
      call.state = "over";
    }
    for (const { id, upstream } of admitted) this.#send(this.#waiting(id), upstream, nowS);
    if (wakeAtS === null) expect(this.#controller.snapshot(nowS).waiting).toBe(0);
    else {
      expect(wakeAtS).toBeGreaterThan(nowS);
      if (this.#wokenS <= nowS || wakeAtS < this.#wokenS) {
        this.#wokenS = wakeAtS;
        this.#at(wakeAtS, () => {});
      }
    }
  }

  #waiting(id: number): Call {
    const call = this.#calls.get(id);
    if (call?.state !== "waiting") throw new Error(`call ${id} was decided though it is ${call?.state ?? "unknown"}`);
    return call;
  }

  #send(call: Call, upstream: string, nowS: number): void {
    this.log.push(`${nowS.toFixed(3)} ${call.id} ${upstream}`);
    expect(nowS).toBeLessThan(call.deadlineS);
    expect(nowS).toBeGreaterThanOrEqual(call.notBefore.get(upstream) ?? 0);
    // First come, first served for each agent, except for those that came back.
    for (const other of this.#calls.values()) {
      if (other.agent !== call.agent || other.state !== "waiting" || other.order >= call.order) continue;
      expect(call.hasComeBack || other.hasComeBack).toBe(true);
    }
    call.state = "out";
    const model = this.#upstreams.get(upstream);
    if (!model) throw new Error(`there is no upstream ${upstream}`);
    const verdict = model.admit(call.load, nowS);
    if (!verdict.ok) {
      this.#at(nowS + verdict.afterS, (atS) => {
        const { status, cause, retryAfterS } = verdict;
        const limits = this.#told(verdict.limits);
        const refusal = { status, cause: status === 529 ? ("overloaded" as const) : cause, retryAfterS, limits };
        const { requeued } = this.#controller.refused(call.id, refusal, atS);
        call.state = requeued ? "waiting" : "over";
        call.hasComeBack = true;
        if (status === 429) call.notBefore.set(upstream, atS + (retryAfterS ?? 0));
        if (status === 429 && atS < call.deadlineS) expect(requeued).toBe(true);
      });
      return;
    }
    const { load } = call;
    const input = { uncachedInputTokens: load.uncached, totalInputTokens: load.input };
    this.#at(nowS + 0.5, (startS) => {
      model.begin(verdict.open, startS);
      this.#controller.head(call.id, { limits: this.#told(verdict.limits), ...input }, startS);
      const endS = startS + load.output / load.tokensPerS;
      this.#at(startS + (endS - startS) / 2, () => this.#controller.progress(call.id, Math.round(load.output / 2)));
      this.#at(endS, () => {
        model.end(verdict.open, endS);
        if (this.#random.next() < 0.05) this.#controller.cancel(call.id, endS);
        else this.#controller.end(call.id, { ...input, outputTokens: load.output }, endS);
        call.state = "over";
      });
    });
  }

  /** What headers say, where there are any. */
  #told(limits: LimitReadings): LimitReadings {
    return this.#kind === "untold" ? {} : limits;
  }

  #check(nowS: number): void {
    const snapshot = this.#controller.snapshot(nowS);
    const count = (state: Call["state"]) => [...this.#calls.values()].filter((call) => call.state === state).length;
    expect(snapshot.waiting).toBe(count("waiting"));
    expect(snapshot.open).toBe(count("out"));
    for (const ledger of snapshot.ledgers) {
      for (const { level, capacity, limit } of ledger.levels) {
        expect(level).toBeLessThanOrEqual(capacity + 1e-6);
        expect(capacity).toBeLessThanOrEqual(limit + 1e-6);
      }
      if (ledger.rampRate !== null) expect(ledger.rampRate).toBeGreaterThanOrEqual(0.1);
    }
    for (const [id, call] of this.#calls) if (call.state === "over" && id % 7 === 0) this.#calls.delete(id);
  }

  #at(timeS: number, what: (nowS: number) => void): void {
    this.#events.push(timeS, what);
  }
}
