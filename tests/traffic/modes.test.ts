import { expect, test } from "vitest";
import { CLASSES, TrafficMode } from "../../lib/traffic/schema.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { Random } from "../support/random.ts";
import { teach } from "./teach.ts";

const POOLS = ["opus-5", "haiku-4.5"] as const;
const MODES = TrafficMode.options;
const LIMITS = { requests: 300, input_tokens: 200_000, output_tokens: 40_000 };
const INPUT = { uncachedInputTokens: 2_000, totalInputTokens: 2_000 };

/** Calls that come, wait, go, come back and end in two pools, while their modes change all the time. */
class Switchboard {
  readonly #random: Random;
  readonly #controller: TrafficController;
  readonly #calls = new Map<number, "waiting" | "out">();
  switched = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#controller = new TrafficController({ random: () => this.#random.next() });
    for (const upstream of ["a", "b"])
      for (const pool of POOLS) teach(this.#controller, { group: "default", upstream, pool, lane: "standard" }, LIMITS);
    this.#controller.setGroup("default", ["a", "b"], 0);
  }

  run(untilS: number): void {
    let nowS = 0;
    for (; nowS < untilS; nowS += 0.1 * this.#random.next()) this.#step(nowS);
    this.#controller.setModes("off", {}, nowS);
    this.#pump(nowS);
    for (const id of this.#calls.keys()) this.#answer(id, nowS);
    const nothing = { waiting: 0, waitingBytes: 0, open: 0 };
    expect(this.#controller.snapshot(nowS)).toMatchObject(nothing);
  }

  #step(nowS: number): void {
    const random = this.#random;
    const choice = random.next();
    const out = [...this.#calls].filter(([, state]) => state === "out").map(([id]) => id);
    if (choice < 0.6) this.#arrive(nowS);
    else if (choice < 0.62) this.#switch(nowS);
    else if (choice < 0.64 && this.#calls.size > 0) this.#cancel(random.pick([...this.#calls.keys()]), nowS);
    else if (choice < 0.75 && out.length > 0) this.#refuse(random.pick(out), nowS);
    else if (out.length > 0) this.#answer(random.pick(out), nowS);
    this.#pump(nowS);
    this.#check(nowS);
  }

  #arrive(nowS: number): void {
    const random = this.#random;
    const arrival = this.#controller.arrive(
      {
        ...{ group: "default", pool: random.pick(POOLS), lane: "standard", class: random.pick(CLASSES) },
        ...{ agent: `agent-${random.int(4)}`, model: "model", bytes: 4 * random.int(20_000), maxTokens: 4_096 },
        ...{ streams: true, deadlineS: random.next() < 0.3 ? 5 : null },
      },
      nowS,
    );
    if (arrival.admitted === false) throw new Error(`${arrival.reason}: nothing here fills the queue`);
    this.#calls.set(arrival.id, "waiting");
  }

  #switch(nowS: number): void {
    const byPool: Record<string, TrafficMode> = {};
    for (const pool of POOLS) if (this.#random.next() < 0.5) byPool[pool] = this.#random.pick(MODES);
    this.#controller.setModes(this.#random.pick(MODES), byPool, nowS);
    this.switched += 1;
  }

  #cancel(id: number, nowS: number): void {
    this.#controller.cancel(id, nowS);
    this.#calls.delete(id);
  }

  #refuse(id: number, nowS: number): void {
    const isLimit = this.#random.next() < 0.5;
    const refusal = isLimit
      ? { status: 429, cause: null, retryAfterS: this.#random.int(5), limits: {} }
      : { status: 529, cause: "overloaded" as const, retryAfterS: null, limits: {} };
    if (this.#controller.refused(id, refusal, nowS).requeued) this.#calls.set(id, "waiting");
    else this.#calls.delete(id);
  }

  #answer(id: number, nowS: number): void {
    this.#controller.head(id, { limits: {}, ...INPUT }, nowS);
    this.#controller.end(id, { ...INPUT, outputTokens: this.#random.int(1_000) }, nowS);
    this.#calls.delete(id);
  }

  #pump(nowS: number): void {
    const { admitted, shed } = this.#controller.pump(nowS);
    for (const { id, explanation } of admitted) {
      expect(this.#calls.get(id)).toBe("waiting");
      if (explanation.mode !== "observe") expect(explanation.wouldWaitS).toBeNull();
      this.#calls.set(id, "out");
    }
    for (const { id } of shed) {
      expect(this.#calls.get(id)).toBe("waiting");
      this.#calls.delete(id);
    }
  }

  #check(nowS: number): void {
    const { waiting, open, queues } = this.#controller.snapshot(nowS);
    const states = [...this.#calls.values()];
    expect(waiting).toBe(states.filter((state) => state === "waiting").length);
    expect(open).toBe(states.filter((state) => state === "out").length);
    for (const { mode, classes } of queues) {
      if (mode === "enforce") continue;
      expect(CLASSES.map((name) => classes[name].waiting)).toEqual([0, 0, 0, 0]);
    }
  }
}

test("however modes change, no call is lost or sent twice, and none waits where none is held", () => {
  for (let seed = 1; seed <= 5; seed += 1) {
    const board = new Switchboard(seed);
    board.run(120);
    expect(board.switched).toBeGreaterThan(20);
  }
});
