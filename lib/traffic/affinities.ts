import { LRUCache } from "lru-cache";
import type { Ticket } from "./ticket.ts";

const MAX_AFFINITIES = 8_192;

/** Which upstream has whose prompts in its cache, of all pools together: memory is bounded by callers, not by pools. */
export class Affinities {
  readonly #last = new LRUCache<string, string>({ max: MAX_AFFINITIES });

  /** The upstream that the call's prompts went to last. */
  lastOf(ticket: Ticket): string | undefined {
    return this.#last.get(ticket.affinity);
  }

  wentTo(upstream: string, ticket: Ticket): void {
    this.#last.set(ticket.affinity, upstream);
  }
}
