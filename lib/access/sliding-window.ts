const WINDOW_MS = 60_000;
const COMPACT_AT = 1_024;

/** What one call took of a window. Its amount may change for as long as it is in there. */
export type WindowEntry = { readonly atMs: number; amount: number; inWindow: boolean };

/**
 * An exact sum over the last 60 seconds: one entry a call, no buckets, so that no 60 seconds ever hold more than was
 * let in. Entries are kept in the order they came; a clock set back keeps them a little longer, never shorter.
 */
export class SlidingWindow {
  #entries: WindowEntry[] = [];
  #head = 0;
  #sum = 0;

  add(amount: number, atMs: number): WindowEntry {
    const entry = { atMs, amount, inWindow: true };
    this.#entries.push(entry);
    this.#sum += amount;
    return entry;
  }

  /** Corrects an entry; one that has left the window changes nothing any more. */
  correct(entry: WindowEntry, amount: number): void {
    if (!entry.inWindow) return;
    this.#sum += amount - entry.amount;
    entry.amount = amount;
  }

  sum(nowMs: number): number {
    const entries = this.#entries;
    for (let oldest = entries[this.#head]; oldest && oldest.atMs <= nowMs - WINDOW_MS; oldest = entries[this.#head]) {
      oldest.inWindow = false;
      this.#sum -= oldest.amount;
      this.#head += 1;
    }
    if (this.#head === entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT && this.#head * 2 > entries.length) {
      this.#entries = entries.slice(this.#head);
      this.#head = 0;
    }
    return this.#sum;
  }

  /** How long until the sum has fallen by the amount, as entries leave; null when all of them are not that much. */
  msUntilFreed(amount: number, nowMs: number): number | null {
    let freed = 0;
    for (let at = this.#head; at < this.#entries.length; at++) {
      const entry = this.#entries[at];
      if (!entry) break;
      freed += entry.amount;
      if (freed >= amount) return Math.max(entry.atMs + WINDOW_MS - nowMs, 0);
    }
    return null;
  }
}
