import { isObject, type JsonObject } from "./field.ts";

/** A value that fits a JSON schema, as small as it allows: the input of a tool call, or a structured answer. */
export function sampleOf(schema: unknown, root: unknown = schema, depth = 0): unknown {
  if (!isObject(schema) || depth > 12) return null;
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0] ?? null;
  if (schema.default !== undefined) return schema.default;
  const ref = schema.$ref;
  if (typeof ref === "string") return sampleOf(resolve(ref, root), root, depth + 1);
  for (const key of ["anyOf", "oneOf"]) {
    const options = schema[key];
    if (Array.isArray(options)) return sampleOf(options[0], root, depth + 1);
  }
  const all = schema.allOf;
  if (Array.isArray(all)) return sampleOf(Object.assign({}, ...all), root, depth + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === "object" || isObject(schema.properties)) return sampleObject(schema, root, depth);
  if (type === "array") {
    const length = typeof schema.minItems === "number" ? schema.minItems : 0;
    return Array.from({ length }, () => sampleOf(schema.items, root, depth + 1));
  }
  if (type === "integer" || type === "number") return sampleNumber(schema);
  if (type === "boolean") return false;
  return type === "null" ? null : sampleString(schema);
}

/** Only what is required: fewest ways to be wrong. */
function sampleObject(schema: JsonObject, root: unknown, depth: number): JsonObject {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.fromEntries(
    required
      .filter((name) => typeof name === "string")
      .map((name) => [name, sampleOf(properties[name] ?? { type: "string" }, root, depth + 1)]),
  );
}

function sampleNumber(schema: JsonObject): number {
  if (typeof schema.minimum === "number") return schema.minimum;
  if (typeof schema.exclusiveMinimum === "number") return schema.exclusiveMinimum + 1;
  return typeof schema.maximum === "number" ? Math.min(1, schema.maximum) : 1;
}

function sampleString(schema: JsonObject): string {
  const formats: Record<string, string> = {
    "date-time": "2026-11-23T10:00:00Z",
    date: "2026-11-23",
    email: "someone@example.com",
    uri: "https://example.com/",
    uuid: "01890a5d-ac96-774b-bcce-b302099a8057",
  };
  const format = typeof schema.format === "string" ? formats[schema.format] : undefined;
  const text = format ?? "simulated";
  const minimum = typeof schema.minLength === "number" ? schema.minLength : 0;
  const maximum = typeof schema.maxLength === "number" ? schema.maxLength : text.length;
  return text.padEnd(minimum, ".").slice(0, Math.max(minimum, maximum));
}

function resolve(ref: string, root: unknown): unknown {
  let found: unknown = root;
  for (const part of ref.replace(/^#\/?/, "").split("/")) {
    if (part !== "") found = isObject(found) ? found[part] : undefined;
  }
  return found;
}
