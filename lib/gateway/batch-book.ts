import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Attribution } from "./attribution.ts";

const MAX_BATCHES = 10_000;
/** Two batches of the largest size. */
const MAX_RESULTS = 200_000;

/**
 * What is remembered of batches: when each was made, which dates its results, by whom, and which results were counted.
 * The database counts each once whatever is forgotten here, and knows who made the batch; this keeps the figures in
 * memory right, and saves the work.
 */
export class BatchBook {
  readonly #created = new LRUCache<string, number>({ max: MAX_BATCHES });
  readonly #makers = new LRUCache<string, Attribution>({ max: MAX_BATCHES });
  /** Made when the first results come: it takes its room at once. */
  #counted: LRUCache<bigint, true> | null = null;

  /** When a batch was made, in milliseconds since the epoch; null where that was not heard. */
  createdAtMs(batchId: string): number | null {
    return this.#created.get(batchId) ?? null;
  }

  /** Takes whose call has made a batch. */
  made(batchId: string, maker: Attribution): void {
    this.#makers.set(batchId, maker);
  }

  /** Who made a batch, whoever fetches its results; null where this process did not see it made. */
  makerOf(batchId: string): Attribution | null {
    return this.#makers.get(batchId) ?? null;
  }

  /** Takes a batch, or a page of batches, as the API answers with. Anything else is passed over. */
  learn(body: unknown): void {
    if (typeof body !== "object" || body === null) return;
    if ("data" in body && Array.isArray(body.data)) for (const batch of body.data) this.#learnOne(batch);
    else this.#learnOne(body);
  }

  /** Whether this result was not counted yet; from now on it is. */
  count(batchId: string, customId: string): boolean {
    this.#counted ??= new LRUCache({ max: MAX_RESULTS });
    const key = hash("sha256", `${batchId}\n${customId}`, "buffer").readBigUInt64BE();
    if (this.#counted.get(key)) return false;
    this.#counted.set(key, true);
    return true;
  }

  #learnOne(batch: unknown): void {
    if (typeof batch !== "object" || batch === null || !("id" in batch) || !("created_at" in batch)) return;
    const { id, created_at: createdAt } = batch;
    if (typeof id !== "string" || id.length > 200 || typeof createdAt !== "string") return;
    const createdAtMs = Date.parse(createdAt);
    if (Number.isSafeInteger(createdAtMs) && createdAtMs > 0) this.#created.set(id, createdAtMs);
  }
}
