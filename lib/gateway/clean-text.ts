/**
 * Text from outside, fit to be stored and shown: control characters and broken surrogates out, trimmed, bounded. Null
 * when nothing is left.
 */
export function cleanText(value: string | null, maxLength = 200): string | null {
  if (value === null) return null;
  const text = (PRINTABLE.test(value) ? value : value.replace(UNFIT, "")).trim();
  if (text === "") return null;
  return (text.length > maxLength ? text.slice(0, maxLength) : text).toWellFormed();
}

/** A header's value as text: bytes came as Latin-1, and most who send more than ASCII mean UTF-8. */
export function headerText(value: string | null): string | null {
  if (value === null || !BEYOND_ASCII.test(value)) return value;
  const utf8 = Buffer.from(value, "latin1").toString("utf8");
  return utf8.includes("\ufffd") ? value : utf8;
}

const PRINTABLE = /^[ -~]*$/;
/** Control characters, broken surrogates, and the invisible ones that reorder or hide text on a page. */
const UNFIT = /[\p{Cc}\p{Cf}\p{Cs}]/gu;
const BEYOND_ASCII = /[\u0080-\u00ff]/;
