/** What a refusal takes to come back. */
const HEARD_AFTER_S = 0.1;
/** As often as held calls are looked at: who comes that late loses nothing by it. */
const LATE_S = 0.05;

/**
 * Lets calls go one after the other where they may be refused. Near the bottom of a bucket the mirror's error may be more
 * than what is left: of calls that go at once all would be refused, of calls in turn one is, and its headers tell the rest
 * to wait. Nobody is slowed below twice the refill.
 */
export class Caution {
  #nextS = Number.NEGATIVE_INFINITY;

  allows(nowS: number): boolean {
    return nowS >= this.#nextS;
  }

  /** A call worth so many seconds of limit goes out. */
  send(seconds: number, nowS: number): void {
    this.#nextS = Math.max(this.#nextS, nowS - LATE_S) + Math.min(HEARD_AFTER_S, seconds / 2);
  }

  waitS(nowS: number): number {
    return Math.max(0, this.#nextS - nowS);
  }
}
