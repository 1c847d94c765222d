import { notFound } from "./api-error.ts";
import { findModel, modelInfo, SIMULATED_MODELS } from "./models.ts";
import { pageById } from "./paging.ts";

/** `GET /v1/models`, newest first, with `limit` (20, at most 1,000), `after_id`, `before_id` and `lifecycle`. */
export function listModels(query: URLSearchParams): object {
  const lifecycles = [...query.getAll("lifecycle"), ...query.getAll("lifecycle[]")];
  const models = SIMULATED_MODELS.filter((entry) => lifecycles.length === 0 || lifecycles.includes(entry.lifecycle));
  const page = pageById(models, query);
  return { ...page, data: page.data.map(modelInfo) };
}

export function getModel(id: string): object {
  const entry = findModel(id);
  if (!entry) throw notFound(`model: ${id}`);
  return modelInfo(entry);
}
