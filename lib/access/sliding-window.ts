const WINDOW_MS = 60_000;
const FEWEST = 16;

/** What one call took of a window, by its number in the order of all. Its amount may change while it is in there. */
export type WindowEntry = number;

/**
 * An exact sum over the last 60 seconds: one entry a call, no buckets, so that no 60 seconds ever hold more than was
 * let in. Entries are kept in the order they came; a clock set back keeps them a little longer, never shorter. They lie
 * in rings of numbers and are no objects: a busy agent has a hundred thousand, and the garbage collector would visit
 * each of them every time.
 */
export class SlidingWindow {
  /** An entry lies at its number modulo their length, which is a power of two. */
  #times = new Float64Array(FEWEST);
  #amounts = new Float64Array(FEWEST);
  #first = 0;
  #next = 0;
  #sum = 0;

  add(amount: number, atMs: number): WindowEntry {
    if (this.#next - this.#first === this.#times.length) this.#resize(2 * this.#times.length);
    const at = this.#at(this.#next);
    this.#times[at] = atMs;
    this.#amounts[at] = amount;
    this.#sum += amount;
    this.#next += 1;
    return this.#next - 1;
  }

  /** Corrects an entry; one that has left the window changes nothing any more. */
  correct(entry: WindowEntry, amount: number): void {
    if (entry < this.#first) return;
    const at = this.#at(entry);
    this.#sum += amount - (this.#amounts[at] ?? 0);
    this.#amounts[at] = amount;
  }

  sum(nowMs: number): number {
    for (; this.#first < this.#next; this.#first += 1) {
      const at = this.#at(this.#first);
      if ((this.#times[at] ?? 0) > nowMs - WINDOW_MS) break;
      this.#sum -= this.#amounts[at] ?? 0;
    }
    const length = this.#times.length;
    if (length > FEWEST && this.#next - this.#first <= length / 4) this.#resize(length / 2);
    return this.#sum;
  }

  /** How long until the sum has fallen by the amount, as entries leave; null when all of them are not that much. */
  msUntilFreed(amount: number, nowMs: number): number | null {
    let freed = 0;
    for (let entry = this.#first; entry < this.#next; entry += 1) {
      const at = this.#at(entry);
      freed += this.#amounts[at] ?? 0;
      if (freed >= amount) return Math.max((this.#times[at] ?? 0) + WINDOW_MS - nowMs, 0);
    }
    return null;
  }

  #at(entry: WindowEntry): number {
    return entry % this.#times.length;
  }

  #resize(length: number): void {
    const [times, amounts] = [new Float64Array(length), new Float64Array(length)];
    for (let entry = this.#first; entry < this.#next; entry += 1) {
      times[entry % length] = this.#times[this.#at(entry)] ?? 0;
      amounts[entry % length] = this.#amounts[this.#at(entry)] ?? 0;
    }
    this.#times = times;
    this.#amounts = amounts;
  }
}
