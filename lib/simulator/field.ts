import { invalidRequest } from "./api-error.ts";

/** Checks of one JSON value, failing with the API's own wording: the path, then what it should have been. */

export type JsonObject = Record<string, unknown>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function fail(path: string, text: string): never {
  throw invalidRequest(`${path}: ${text}`);
}

export function asObject(value: unknown, path: string): JsonObject {
  if (value === undefined) fail(path, "Field required");
  return isObject(value) ? value : fail(path, "Input should be a valid dictionary");
}

export function asArray(value: unknown, path: string): unknown[] {
  if (value === undefined) fail(path, "Field required");
  return Array.isArray(value) ? value : fail(path, "Input should be a valid list");
}

export function asString(value: unknown, path: string): string {
  if (value === undefined) fail(path, "Field required");
  return typeof value === "string" ? value : fail(path, "Input should be a valid string");
}

export function asBoolean(value: unknown, path: string): boolean {
  return typeof value === "boolean" ? value : fail(path, "Input should be a valid boolean");
}

export function asInteger(value: unknown, path: string, minimum: number): number {
  if (value === undefined) fail(path, "Field required");
  if (typeof value !== "number" || !Number.isInteger(value)) fail(path, "Input should be a valid integer");
  if (value < minimum) fail(path, `Input should be greater than or equal to ${minimum}`);
  return value;
}

export function asNumber(value: unknown, path: string, minimum: number, maximum: number): number {
  if (typeof value !== "number") fail(path, "Input should be a valid number");
  if (value < minimum) fail(path, `Input should be greater than or equal to ${minimum}`);
  if (value > maximum) fail(path, `Input should be less than or equal to ${maximum}`);
  return value;
}

export function asOneOf<Value extends string>(value: unknown, path: string, allowed: readonly Value[]): Value {
  const found = allowed.find((option) => option === value);
  if (found !== undefined) return found;
  const quoted = allowed.map((option) => `'${option}'`);
  const last = quoted.pop();
  return fail(path, `Input should be ${quoted.length > 0 ? `${quoted.join(", ")} or ${last}` : last}`);
}

/** Fails on the first key that the API does not know. */
export function onlyKeys(value: JsonObject, path: string, known: ReadonlySet<string>): void {
  for (const key in value) {
    if (!known.has(key)) fail(path === "" ? key : `${path}.${key}`, "Extra inputs are not permitted");
  }
}
