import { invalidRequest } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { asObject, asString, isObject, type JsonObject, onlyKeys } from "./field.ts";
import { readJson } from "./request-body.ts";

/** Reads a body that is an object of known keys. */
export async function readObject(exchange: Exchange, keys: ReadonlySet<string>): Promise<JsonObject> {
  const body = await readJson(exchange.request);
  if (!isObject(body)) throw invalidRequest("Input should be a valid dictionary or object to extract fields from");
  onlyKeys(body, "", keys);
  return body;
}

/** Parses what is there; null counts as absent. */
export function optional<Value>(value: unknown, parse: (value: unknown) => Value): Value | undefined {
  return value === undefined || value === null ? undefined : parse(value);
}

export function optionalString(value: unknown, path: string): string | null {
  return optional(value, (given) => asString(given, path)) ?? null;
}

/** Metadata: strings by name. Where `previous` is given, null takes a key away and the rest stays. */
export function stringMap(value: unknown, path: string, previous: Record<string, string> = {}): Record<string, string> {
  const given = optional(value, (entry) => asObject(entry, path)) ?? {};
  const map = new Map(Object.entries(previous));
  for (const [key, entry] of Object.entries(given)) {
    if (entry === null) map.delete(key);
    else map.set(key, asString(entry, `${path}.${key}`));
  }
  return Object.fromEntries(map);
}

/** Milliseconds to the RFC 3339 time that all resources carry. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString();
}
