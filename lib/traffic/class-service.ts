import { CLASS_INDEXES, type ClassIndex } from "./classes.ts";
import { add, at } from "./numbers.ts";

const MEMORY_S = 60;
/** What each class gets at least while it waits, as shares of all service. */
const GUARANTEES: readonly [number, number, number, number] = [0, 0.15, 0.1, 0.05];
const CRITICAL_YIELDS_AT = 0.6;

/** Which class goes next, and whose reserves it is held to. */
export type Turn = { class: ClassIndex; gatedAs: ClassIndex };

/** What each class got of late, decayed over a minute, in minutes of limit. */
export class ClassService {
  readonly #service = new Float64Array(4);
  #nowS: number;

  constructor(nowS: number) {
    this.#nowS = nowS;
  }

  tick(nowS: number): void {
    const elapsedS = nowS - this.#nowS;
    if (elapsedS <= 0) return;
    this.#nowS = nowS;
    const fade = Math.exp(-elapsedS / MEMORY_S);
    for (const index of CLASS_INDEXES) this.#service[index] = at(this.#service, index) * fade;
  }

  add(to: ClassIndex, cost: number): void {
    add(this.#service, to, cost);
  }

  of(index: ClassIndex): number {
    return at(this.#service, index);
  }

  /**
   * Strict order, except that a class which got less than it is owed goes first. It is then held to critical's own reserve
   * when critical waits, for a deeper one would make critical stand still behind it until the bucket has refilled.
   */
  choose(isBacklogged: (index: ClassIndex) => boolean): Turn | null {
    const top = CLASS_INDEXES.find(isBacklogged);
    if (top === undefined) return null;
    let total = 0;
    for (const index of CLASS_INDEXES) total += at(this.#service, index);
    if (top === 0 && at(this.#service, 0) < CRITICAL_YIELDS_AT * total) return { class: top, gatedAs: top };
    let owed: ClassIndex | null = null;
    let least = 1;
    for (const index of CLASS_INDEXES) {
      const guarantee = GUARANTEES[index];
      if (index <= top || guarantee === 0 || !isBacklogged(index)) continue;
      const part = total > 0 ? at(this.#service, index) / (guarantee * total) : 1;
      if (part >= least) continue;
      least = part;
      owed = index;
    }
    if (owed === null) return { class: top, gatedAs: top };
    return { class: owed, gatedAs: top === 0 ? 0 : 1 };
  }
}
