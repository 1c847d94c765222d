/** An item's place in a heap: its owner keeps it to move or remove the item without a search. */
export type HeapEntry<Item> = { key: number; readonly item: Item; index: number };

/** A binary heap with the smallest key on top. Equal keys come out in no particular order. */
export class IndexedHeap<Item> {
  readonly #entries: HeapEntry<Item>[] = [];

  get size(): number {
    return this.#entries.length;
  }

  peek(): HeapEntry<Item> | undefined {
    return this.#entries[0];
  }

  /** The items whose keys are at most this, the smallest first and the rest in no order. Costs no more than there are. */
  *upTo(key: number, from = 0): Generator<Item> {
    const entry = this.#entries[from];
    if (entry === undefined || entry.key > key) return;
    yield entry.item;
    yield* this.upTo(key, 2 * from + 1);
    yield* this.upTo(key, 2 * from + 2);
  }

  push(key: number, item: Item): HeapEntry<Item> {
    const entry = { key, item, index: this.#entries.length };
    this.#entries.push(entry);
    this.#rise(entry);
    return entry;
  }

  /** Puts an entry where its new key belongs. */
  rekey(entry: HeapEntry<Item>, key: number): void {
    if (entry.index < 0) return;
    entry.key = key;
    this.#rise(entry);
    this.#sink(entry);
  }

  /** Takes an entry out; once it is out, does nothing. */
  remove(entry: HeapEntry<Item>): void {
    const { index } = entry;
    if (index < 0) return;
    const last = this.#entries.pop();
    entry.index = -1;
    if (last === undefined || last === entry) return;
    this.#put(last, index);
    this.#rise(last);
    this.#sink(last);
  }

  #put(entry: HeapEntry<Item>, index: number): void {
    this.#entries[index] = entry;
    entry.index = index;
  }

  #rise(entry: HeapEntry<Item>): void {
    let index = entry.index;
    while (index > 0) {
      const parent = this.#entries[(index - 1) >> 1];
      if (parent === undefined || parent.key <= entry.key) break;
      this.#put(parent, index);
      index = (index - 1) >> 1;
    }
    this.#put(entry, index);
  }

  #sink(entry: HeapEntry<Item>): void {
    let index = entry.index;
    for (;;) {
      const left = this.#entries[2 * index + 1];
      if (left === undefined) break;
      const right = this.#entries[2 * index + 2];
      const child = right !== undefined && right.key < left.key ? right : left;
      if (child.key >= entry.key) break;
      const next = child.index;
      this.#put(child, index);
      index = next;
    }
    this.#put(entry, index);
  }
}
