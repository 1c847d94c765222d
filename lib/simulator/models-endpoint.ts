import { invalidRequest, notFound } from "./api-error.ts";
import { findModel, modelInfo, SIMULATED_MODELS } from "./models.ts";

/** `GET /v1/models`, newest first, with `limit` (20, at most 1,000), `after_id`, `before_id` and `lifecycle`. */
export function listModels(query: URLSearchParams): object {
  const limit = parseLimit(query.get("limit"));
  const lifecycles = [...query.getAll("lifecycle"), ...query.getAll("lifecycle[]")];
  const models = SIMULATED_MODELS.filter((entry) => lifecycles.length === 0 || lifecycles.includes(entry.lifecycle));
  const after = query.get("after_id");
  const before = query.get("before_id");
  if (after !== null && before !== null) throw invalidRequest("Only one of before_id and after_id may be given");
  const position = (id: string, name: string) => {
    const index = models.findIndex((entry) => entry.id === id);
    if (index < 0) throw invalidRequest(`${name}: Invalid cursor`);
    return index;
  };
  let start = after === null ? 0 : position(after, "after_id") + 1;
  let end = Math.min(models.length, start + limit);
  let hasMore = end < models.length;
  if (before !== null) {
    end = position(before, "before_id");
    start = Math.max(0, end - limit);
    hasMore = start > 0;
  }
  const page = models.slice(start, end);
  return {
    data: page.map(modelInfo),
    has_more: hasMore,
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null,
  };
}

export function getModel(id: string): object {
  const entry = findModel(id);
  if (!entry) throw notFound(`model: ${id}`);
  return modelInfo(entry);
}

function parseLimit(text: string | null): number {
  if (text === null) return 20;
  const limit = Number(text);
  if (!Number.isInteger(limit)) throw invalidRequest("limit: Input should be a valid integer");
  if (limit < 1) throw invalidRequest("limit: Input should be greater than or equal to 1");
  if (limit > 1_000) throw invalidRequest("limit: Input should be less than or equal to 1000");
  return limit;
}
