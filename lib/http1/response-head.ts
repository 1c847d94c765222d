import { Http1Error } from "./errors.ts";
import { knownName, lowerCase } from "./field-names.ts";

/** How the body of an answer is delimited (RFC 9112, 6.3): by its length, in chunks, or by the connection's end. */
export type BodyFraming = number | "chunked" | "close";

export type ResponseHead = {
  status: number;
  reason: string;
  /** Names and values in turn, as they came. */
  rawHeaders: string[];
  body: BodyFraming;
  /** Whether the connection can carry another exchange. */
  keepsAlive: boolean;
  /** From `Keep-Alive`, how long the server keeps an idle connection; null where it does not say. */
  keepAliveS: number | null;
};

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
/** Not a bare CR or LF: readers that disagree on line ends read different answers. */
const FORBIDDEN = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * Reads the head of an answer, without its empty line. Throws `HTTP1_RESPONSE` for anything that two readers might
 * understand differently: such an answer is nobody's.
 */
export function parseResponseHead(text: string, method: string): ResponseHead {
  let lineEnd = text.indexOf("\r\n");
  if (lineEnd < 0) lineEnd = text.length;
  const line = STATUS_LINE.exec(text.slice(0, lineEnd));
  if (line === null) throw malformed("its first line is not a status line");
  const [, minor, digits, reason = ""] = line;
  const status = Number(digits);
  const rawHeaders = parseFields(text, lineEnd + 2);

  let length: number | null = null;
  let coding: string | null = null;
  let connection = "";
  let keepAliveS: number | null = null;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    const value = rawHeaders[at + 1] ?? "";
    switch (lowerCase(name)) {
      case "content-length":
        if (length !== null || !/^\d{1,15}$/.test(value)) throw malformed("its content-length is not one number");
        length = Number(value);
        break;
      case "transfer-encoding":
        coding = coding === null ? value : `${coding},${value}`;
        break;
      case "connection":
        connection += `,${value.toLowerCase()}`;
        break;
      case "keep-alive": {
        const timeout = /(?:^|[\s,;])timeout\s*=\s*"?(\d{1,9})/i.exec(value)?.[1];
        if (timeout !== undefined) keepAliveS = Number(timeout);
      }
    }
  }
  if (coding !== null && length !== null) throw malformed("it has both a content-length and a transfer-encoding");

  const hasNone = method === "HEAD" || status < 200 || status === 204 || status === 304;
  const body = hasNone ? 0 : coding !== null ? framingOf(coding) : (length ?? "close");
  const isClosing = minor === "0" ? !/\bkeep-alive\b/.test(connection) : /\bclose\b/.test(connection);
  return { status, reason, rawHeaders, body, keepsAlive: !isClosing && body !== "close", keepAliveS };
}

/** Header or trailer fields from `at` on, a line each, the last without its end. */
export function parseFields(text: string, at: number): string[] {
  const fields: string[] = [];
  if (at >= text.length) return fields;
  for (let start = at; start <= text.length; ) {
    let end = text.indexOf("\r\n", start);
    if (end < 0) end = text.length;
    const colon = text.indexOf(":", start);
    if (colon < 0 || colon > end) throw malformed("a header of it has no colon");
    const name = knownName(text.slice(start, colon));
    // An empty name, one with a space before its colon, and a line that continues the one before it (RFC 9112, 5).
    if (name === null) throw malformed("the name of a header of it is not a token");
    const value = trimmed(text, colon + 1, end);
    if (FORBIDDEN.test(value)) throw malformed("a header of it has control characters");
    fields.push(name, value);
    start = end + 2;
  }
  return fields;
}

/** Without spaces and tabs around it. */
function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Chunks last tell where the body ends; without them only the connection does (RFC 9112, 6.3). */
function framingOf(coding: string): BodyFraming {
  const codings = coding
    .toLowerCase()
    .split(",")
    .map((one) => one.trim());
  if (codings.at(-1) !== "chunked") return "close";
  if (codings.length > 1) throw malformed("it has a transfer-encoding that was not asked for");
  return "chunked";
}

function malformed(what: string): Http1Error {
  return new Http1Error("HTTP1_RESPONSE", `the answer cannot be read: ${what}`);
}
