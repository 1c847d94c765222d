import { notFound } from "./api-error.ts";

/** Things of one kind, by id, in memory for as long as the simulator runs. */
export class ResourceStore<Item extends { id: string }> {
  #kind: string;
  #items = new Map<string, Item>();

  /** `kind` is what a 404 calls them. */
  constructor(kind: string) {
    this.#kind = kind;
  }

  add(item: Item): Item {
    this.#items.set(item.id, item);
    return item;
  }

  /** Throws ApiError 404. */
  get(id: string): Item {
    const item = this.#items.get(id);
    if (!item) throw notFound(`${this.#kind} not found: ${id}`);
    return item;
  }

  delete(id: string): void {
    this.#items.delete(id);
  }

  /** Newest first, as the API lists everything. */
  list(): Item[] {
    return [...this.#items.values()].reverse();
  }
}
