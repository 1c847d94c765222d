import { ApiError } from "./api-error.ts";

/** Things of one kind, by id, in memory for as long as the simulator runs. */
export class ResourceStore<Item extends { id: string }> {
  #kind: string;
  #errorCode: string | undefined;
  #items = new Map<string, Item>();

  /** `kind` is what a 404 calls them, `errorCode` its code where the API gives one. */
  constructor(kind: string, errorCode?: string) {
    this.#kind = kind;
    this.#errorCode = errorCode;
  }

  add(item: Item): Item {
    this.#items.set(item.id, item);
    return item;
  }

  /** Throws ApiError 404. */
  get(id: string): Item {
    const item = this.#items.get(id);
    if (item) return item;
    const options = this.#errorCode === undefined ? {} : { errorCode: this.#errorCode };
    throw new ApiError(404, "not_found_error", `${this.#kind} not found: ${id}`, options);
  }

  delete(id: string): void {
    this.#items.delete(id);
  }

  /** Newest first, as the API lists everything. */
  list(): Item[] {
    return [...this.#items.values()].reverse();
  }
}
