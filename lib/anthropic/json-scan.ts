/**
 * Finds members of the outermost object of a JSON document without parsing the document: strings are jumped over,
 * nested values only counted in and out. A request body may hold megabytes of prompt, of which a gateway needs the
 * model's name. Agrees with `JSON.parse` on every document that parses, the last of several equal keys included; on
 * anything else it returns what it had found and never throws.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const PLAIN_STRING = /^"[ !#-[\]-~]{0,100}"$/;

/** How far a string is walked byte by byte before the rest is searched natively. */
const WALK = 64;

/** Each wanted key that was found, with its value as JSON text: a view of the document, not a copy. */
export function findTopLevelValues<Key extends string>(json: Buffer, keys: readonly Key[]): Map<Key, Buffer> {
  const found = new Map<Key, Buffer>();
  let at = skipSpace(json, json[0] === 0xef && json[1] === 0xbb && json[2] === 0xbf ? 3 : 0);
  if (json[at] !== OPEN_BRACE) return found;
  at = skipSpace(json, at + 1);
  while (json[at] === QUOTE) {
    const keyEnd = skipString(json, at);
    if (keyEnd === -1) return found;
    const key = matchKey(json, at, keyEnd, keys);
    at = skipSpace(json, keyEnd);
    if (json[at] !== COLON) return found;
    const start = skipSpace(json, at + 1);
    const end = skipValue(json, start);
    if (end === -1) return found;
    if (key !== null) found.set(key, json.subarray(start, end));
    at = skipSpace(json, end);
    if (json[at] !== COMMA) return found;
    at = skipSpace(json, at + 1);
  }
  return found;
}

/** The elements of an array, as JSON text: views of the document. At most `max`; none of what is no array. */
export function findElements(json: Buffer | undefined, max: number): Buffer[] {
  const found: Buffer[] = [];
  if (json?.[0] !== OPEN_BRACKET) return found;
  let at = skipSpace(json, 1);
  while (found.length < max && json[at] !== CLOSE_BRACKET) {
    const end = skipValue(json, at, CLOSE_BRACKET);
    if (end === -1) return found;
    found.push(json.subarray(at, end));
    at = skipSpace(json, end);
    if (json[at] !== COMMA) return found;
    at = skipSpace(json, at + 1);
  }
  return found;
}

/** A value found as above, parsed; undefined when it was absent, longer than `maxBytes`, or is no JSON after all. */
export function parseValue(value: Buffer | undefined, maxBytes = 1_048_576): unknown {
  if (value === undefined || value.length > maxBytes) return undefined;
  const text = value.toString("utf8");
  // Most that is asked for is a short word, which is plain text between its quotes.
  if (PLAIN_STRING.test(text)) return text.slice(1, -1);
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Which of the keys the JSON string from `start` up to `end` spells, quotes included; null for any other. */
export function matchKey<Key extends string>(
  json: Buffer,
  start: number,
  end: number,
  keys: readonly Key[],
): Key | null {
  const length = end - start - 2;
  for (const key of keys) {
    if (key.length === length && json[start + 1] === key.charCodeAt(0)) {
      if (json.toString("latin1", start + 1, end - 1) === key) return key;
    }
  }
  // "\u006dodel" is the key "model" too: a key with an escape has to be decoded.
  if (length > 1024 || !json.subarray(start, end).includes(BACKSLASH)) return null;
  const text = parseValue(json.subarray(start, end));
  return keys.find((key) => key === text) ?? null;
}

function skipSpace(json: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const byte = json[at];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    at += 1;
  }
}

/** `from` is at the opening quote; the index after the closing one, or -1. */
function skipString(json: Buffer, from: number): number {
  let at = from + 1;
  let walked = 0;
  for (;;) {
    const byte = json[at];
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) {
      at += 2;
      walked += 2;
    } else if (byte === undefined) return -1;
    else {
      at += 1;
      walked += 1;
    }
    if (walked < WALK) continue;
    walked = 0;
    const quote = json.indexOf(QUOTE, at);
    if (quote === -1) return -1;
    // An odd run of backslashes before it means that this quote belongs to the text. `at` is never inside an escape.
    let slashes = 0;
    while (quote - 1 - slashes >= at && json[quote - 1 - slashes] === BACKSLASH) slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

/** `closing` is what may end the value besides a comma or white space: the end of what it stands in. */
function skipValue(json: Buffer, from: number, closing: number = CLOSE_BRACE): number {
  const first = json[from];
  if (first === QUOTE) return skipString(json, from);
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return skipNested(json, from);
  let at = from;
  for (; at < json.length; at += 1) {
    const byte = json[at] ?? 0;
    if (byte === COMMA || byte === closing || byte <= 0x20) break;
    // Letters, digits, signs and the point are all that a number, true, false or null is made of.
    if (byte === QUOTE || byte === COLON || byte === OPEN_BRACE || byte === OPEN_BRACKET) return -1;
    if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) return -1;
  }
  return at === from ? -1 : at;
}

function skipNested(json: Buffer, from: number): number {
  let depth = 0;
  let at = from;
  const length = json.length;
  while (at < length) {
    const byte = json[at];
    if (byte === QUOTE) {
      at = skipString(json, at);
      if (at === -1) return -1;
      continue;
    }
    at += 1;
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}
