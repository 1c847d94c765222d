import { invalidRequest } from "./api-error.ts";

type Identified = { id: string };

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 1_000;

/** A page by ids: `limit`, `after_id`, `before_id`; answers `has_more`, `first_id`, `last_id`. */
export function pageById<Item extends Identified>(items: readonly Item[], query: URLSearchParams, maximum = MAX_LIMIT) {
  const limit = parseLimit(query.get("limit"), DEFAULT_LIMIT, maximum);
  const after = query.get("after_id");
  const before = query.get("before_id");
  if (after !== null && before !== null) throw invalidRequest("Only one of before_id and after_id may be given");
  const position = (id: string, name: string) => {
    const index = items.findIndex((entry) => entry.id === id);
    if (index < 0) throw invalidRequest(`${name}: Invalid cursor`);
    return index;
  };
  let start = after === null ? 0 : position(after, "after_id") + 1;
  let end = Math.min(items.length, start + limit);
  let hasMore = end < items.length;
  if (before !== null) {
    end = position(before, "before_id");
    start = Math.max(0, end - limit);
    hasMore = start > 0;
  }
  const data = items.slice(start, end);
  return { data, has_more: hasMore, first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null };
}

/** A page by an opaque cursor: `limit`, `page`; answers `next_page`. Without `limit`, as many as `otherwise` says. */
export function pageByCursor<Item extends Identified>(
  items: readonly Item[],
  query: URLSearchParams,
  options: { otherwise?: number; maximum?: number } = {},
): { data: Item[]; next_page: string | null; prev_page: string | null } {
  const limit = parseLimit(query.get("limit"), options.otherwise ?? DEFAULT_LIMIT, options.maximum ?? MAX_LIMIT);
  const cursor = query.get("page");
  const start = cursor === null ? 0 : items.findIndex((entry) => entry.id === readCursor(cursor));
  if (start < 0) throw invalidRequest("page: Invalid cursor");
  const next = items[start + limit];
  const previous = start === 0 ? undefined : items[Math.max(0, start - limit)];
  return {
    data: items.slice(start, start + limit),
    next_page: next ? writeCursor(next.id) : null,
    prev_page: previous ? writeCursor(previous.id) : null,
  };
}

export function parseLimit(text: string | null, otherwise: number, maximum: number): number {
  if (text === null) return otherwise;
  const limit = Number(text);
  if (!Number.isInteger(limit)) throw invalidRequest("limit: Input should be a valid integer");
  if (limit < 1) throw invalidRequest("limit: Input should be greater than or equal to 1");
  if (limit > maximum) throw invalidRequest(`limit: Input should be less than or equal to ${maximum}`);
  return limit;
}

function writeCursor(id: string): string {
  return `page_${Buffer.from(id).toString("base64url")}`;
}

function readCursor(cursor: string): string {
  return Buffer.from(cursor.replace(/^page_/, ""), "base64url").toString("utf8");
}
