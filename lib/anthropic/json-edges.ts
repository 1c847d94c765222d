import { findTopLevelValues, matchKey } from "./json-scan.ts";

/**
 * Finds members of the outermost object in a document's first and last bytes, without walking what lies between:
 * clients write a prompt of megabytes in one piece and the small members before or after it. What is found agrees with
 * `JSON.parse`, unless the same key comes again in between; where that matters, walk the whole document.
 */
export function findEdgeValues<Key extends string>(
  front: Buffer,
  tail: Buffer,
  keys: readonly Key[],
): Map<Key, Buffer> {
  const found = findTopLevelValues(front, keys);
  for (const [key, value] of found) {
    // A number that reaches the edge may go on behind it.
    if (value.byteOffset + value.length === front.byteOffset + front.length) found.delete(key);
  }
  for (const [key, value] of findTailValues(tail, keys)) found.set(key, value);
  return found;
}

/**
 * The members at the end, as far as they are whole. Read backwards JSON is as plain as forwards: a quote belongs to a
 * string's text when an odd number of backslashes stands before it, and no opening quote has one before it.
 */
function findTailValues<Key extends string>(json: Buffer, keys: readonly Key[]): Map<Key, Buffer> {
  const found = new Map<Key, Buffer>();
  let at = backOverSpace(json, json.length - 1);
  if (json[at] !== CLOSE_BRACE) return found;
  do {
    const last = backOverSpace(json, at - 1);
    const first = backOverValue(json, last);
    if (first === -1) return found;
    at = backOverSpace(json, first - 1);
    if (at < 0 || json[at] !== COLON) return found;
    const keyLast = backOverSpace(json, at - 1);
    const keyFirst = json[keyLast] === QUOTE ? backOverString(json, keyLast) : -1;
    if (keyFirst === -1) return found;
    const key = matchKey(json, keyFirst, keyLast + 1, keys);
    // The last of equal keys wins, and it comes first here.
    if (key !== null && !found.has(key)) found.set(key, json.subarray(first, last + 1));
    at = backOverSpace(json, keyFirst - 1);
  } while (at >= 0 && json[at] === COMMA);
  return found;
}

/** Each of these begins at a value's last byte and gives its first, or -1 where that is not there. */
function backOverValue(json: Buffer, last: number): number {
  const byte = json[last];
  if (byte === QUOTE) return backOverString(json, last);
  if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) return backOverNested(json, last);
  let at = last;
  while (at >= 0 && isPlain(json[at] ?? 0)) at -= 1;
  return at === last || at < 0 ? -1 : at + 1;
}

function backOverString(json: Buffer, last: number): number {
  for (let at = last - 1; at >= 0; at -= 1) {
    if (json[at] !== QUOTE) continue;
    let slashes = 0;
    while (at - 1 - slashes >= 0 && json[at - 1 - slashes] === BACKSLASH) slashes += 1;
    // Nobody can say what stood before the edge: one more backslash would change everything.
    if (at - slashes === 0) return -1;
    if (slashes % 2 === 0) return at;
    at -= slashes;
  }
  return -1;
}

function backOverNested(json: Buffer, last: number): number {
  let depth = 0;
  for (let at = last; at >= 0; at -= 1) {
    const byte = json[at];
    if (byte === QUOTE) {
      at = backOverString(json, at);
      if (at === -1) return -1;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth += 1;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}

function backOverSpace(json: Buffer, last: number): number {
  let at = last;
  while (at >= 0 && SPACE.has(json[at] ?? 0)) at -= 1;
  return at;
}

/** What numbers, true, false and null are made of. */
function isPlain(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x7a) || PLAIN.has(byte);
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const SPACE: ReadonlySet<number> = new Set([0x20, 0x0a, 0x0d, 0x09]);
const PLAIN: ReadonlySet<number> = new Set([0x2b, 0x2d, 0x2e, 0x45]);
