/** Names beyond these are looked at anew each time: a peer may make up as many as it likes. */
const MAX_KNOWN = 1_000;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Spellings that were met before, with their lower case. */
const known = new Map<string, { name: string; lower: string }>();

/**
 * The same name as one string for all messages that have it, so that it need not be judged, hashed and compared anew in
 * each of them. Null for what is no token (RFC 9110, 5.1).
 */
export function knownName(text: string): string | null {
  const entry = known.get(text);
  if (entry !== undefined) return entry.name;
  if (!TOKEN.test(text)) return null;
  const name = asKey(text);
  if (known.size < MAX_KNOWN) known.set(name, { name, lower: asKey(name.toLowerCase()) });
  return name;
}

/** A header's name in lower case, by which names are the same. */
export function lowerCase(name: string): string {
  return known.get(name)?.lower ?? name.toLowerCase();
}

/** Engines keep one copy of what is an object's key, and a part of a longer text no longer holds on to all of it. */
function asKey(text: string): string {
  return Object.keys({ [text]: true })[0] ?? text;
}
