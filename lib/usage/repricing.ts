import { z } from "zod";
import { poolOf } from "../anthropic/pools.ts";
import { findPrice, listPricedModels } from "../anthropic/price-list.ts";
import { priceUsage } from "../anthropic/prices.ts";
import type { Database } from "../database/database.ts";
import { messageOf } from "../kit/errors.ts";
import type { Log } from "../kit/log.ts";
import { CallRecord } from "./schema.ts";

const Page = z.object({ calls: z.array(CallRecord) });
type Page = z.infer<typeof Page>;
const Priced = z.object({ priced: z.int() });
const PAGE = 1_000;

/**
 * Prices the calls that were recorded before the price list knew their model, each by the list of its own day, and all
 * sums with them. Never throws; run again it finds nothing left to do, and what could not be done now is done at the
 * next start.
 */
export async function priceLateCalls(options: { database: Database; log: Log }): Promise<{ priced: number }> {
  const { database, log } = options;
  const models = listPricedModels();
  let priced = 0;
  try {
    let before: Pick<CallRecord, "id" | "startedAt"> | null = null;
    for (;;) {
      const { calls }: Page = await database.call("calls_unpriced", { filter: { models, limit: PAGE, before } }, Page);
      const prices = calls.flatMap((call) => {
        const costNanoUsd = lateCost(call);
        return costNanoUsd === null ? [] : [{ id: call.id, startedAt: call.startedAt, costNanoUsd }];
      });
      if (prices.length > 0) priced += (await database.call("calls_price", { prices }, Priced)).priced;
      const last = calls.at(-1);
      if (!last || calls.length < PAGE) break;
      before = { id: last.id, startedAt: last.startedAt };
    }
  } catch (error) {
    log.warn({ error: messageOf(error) }, "calls of models that have a price now could not be priced");
  }
  if (priced > 0) log.info({ priced }, "calls whose model had no known price have been priced");
  return { priced };
}

/**
 * What a row's call cost, as far as the row alone tells; else null, and it stays unpriced. A row has the sum of all
 * samplings of its answer. That is not enough where their prompts might be long or short ones by turns, where another
 * model was asked than answered, and where a refusal may have been free. Advice of another model is nowhere in a row: it
 * is priced as the answering model's.
 */
function lateCost(call: CallRecord): number | null {
  const { model, pool, stopReason } = call;
  const atMs = Date.parse(call.startedAt);
  const price = model === null ? null : findPrice(model, atMs);
  const prompt = call.inputTokens + call.cacheWriteTokens + call.cacheReadTokens;
  // No prompt is empty: its usage was never told.
  if (model === null || price === null || prompt === 0) return null;
  if (stopReason === "refusal" || stopReason === "content_filter") return null;
  if (price.longPrompt && prompt > price.longPrompt.above) return null;
  // A model nobody had heard of had a pool of its own name.
  if (pool !== poolOf(model).id && pool !== model) return null;
  return priceUsage({ model, usage: { ...call, iterations: null }, atMs });
}
