/** Far more than can be there at a time. */
const PLACES = 2 ** 20;

/**
 * What is there now and not for long, such as open calls, by a number that is never given again. A Map would do, but of
 * every table that a Map outgrows V8 keeps a way to the next: behind one dead table that has become old, all that stood
 * in later ones is kept too until the whole heap is collected. Here a place is simply taken again.
 */
export class Register<Item> {
  readonly #items: (Item | undefined)[] = [];
  readonly #ids: number[] = [];
  readonly #free: number[] = [];

  get size(): number {
    return this.#items.length - this.#free.length;
  }

  /** Returns the item's number. */
  add(item: Item): number {
    const place = this.#free.pop() ?? this.#items.length;
    const id = (this.#ids[place] ?? place) + PLACES;
    this.#items[place] = item;
    this.#ids[place] = id;
    return id;
  }

  get(id: number): Item | undefined {
    return this.#ids[id % PLACES] === id ? this.#items[id % PLACES] : undefined;
  }

  /** False where it is gone already. */
  delete(id: number): boolean {
    if (this.get(id) === undefined) return false;
    this.#items[id % PLACES] = undefined;
    this.#free.push(id % PLACES);
    return true;
  }

  /** All that is there, as of now: it may be added to and deleted from meanwhile. */
  all(): Item[] {
    return this.#items.filter((item) => item !== undefined);
  }
}

/** What belongs to the items of a register, by their numbers. */
export class Beside<Item> {
  readonly #items: (Item | undefined)[] = [];
  readonly #ids: number[] = [];

  set(id: number, item: Item): void {
    // Places are taken in turn, so that no array gets holes; one that did would only be slower.
    this.#items[id % PLACES] = item;
    this.#ids[id % PLACES] = id;
  }

  get(id: number): Item | undefined {
    return this.#ids[id % PLACES] === id ? this.#items[id % PLACES] : undefined;
  }

  delete(id: number): void {
    if (this.#ids[id % PLACES] === id) this.#items[id % PLACES] = undefined;
  }
}
