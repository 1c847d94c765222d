import { lowerCase } from "./field-names.ts";
import { parseFields } from "./response-head.ts";

/** A request as almost all clients send it: whole in its head, with a body of a known length or none. */
export type PlainRequest = {
  method: string;
  /** Path and query. */
  target: string;
  /** Names and values in turn, as they came. */
  rawHeaders: string[];
  contentLength: number;
  /** Whether the client means to send another over the connection. */
  keepsAlive: boolean;
  /** Where in the bytes the body begins. */
  bodyAt: number;
};

const HEAD_END = "\r\n\r\n";
const REQUEST_LINE = /^(GET|HEAD|POST|PUT|PATCH|DELETE) (\/[\x21-\x7e]*) HTTP\/1\.1$/;

/**
 * Reads the head of a request at the beginning of the bytes. Null for everything that is not plain: a head in pieces,
 * chunks, `Expect`, an upgrade, HTTP/1.0, and anything malformed or that two readers might understand differently.
 * That is for a parser that knows all of HTTP.
 */
export function parsePlainRequest(bytes: Buffer): PlainRequest | null {
  const end = bytes.indexOf(HEAD_END, 0, "latin1");
  if (end < 0) return null;
  const text = bytes.toString("latin1", 0, end);
  const lineEnd = text.indexOf("\r\n");
  if (lineEnd < 0) return null;
  const [, method, target] = REQUEST_LINE.exec(text.slice(0, lineEnd)) ?? [];
  const rawHeaders = fieldsOf(text, lineEnd + 2);
  if (method === undefined || target === undefined || rawHeaders === null) return null;
  let hosts = 0;
  let contentLength: number | null = null;
  let keepsAlive = true;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const value = rawHeaders[at + 1] ?? "";
    switch (lowerCase(rawHeaders[at] ?? "")) {
      case "host":
        hosts += 1;
        break;
      case "content-length":
        if (contentLength !== null || !/^\d{1,15}$/.test(value)) return null;
        contentLength = Number(value);
        break;
      case "connection":
        if (/^close$/i.test(value)) keepsAlive = false;
        else if (!/^keep-alive$/i.test(value)) return null;
        break;
      case "transfer-encoding":
      case "expect":
      case "upgrade":
      case "te":
      case "trailer":
      case "proxy-connection":
        return null;
    }
  }
  if (hosts !== 1) return null;
  return { method, target, rawHeaders, contentLength: contentLength ?? 0, keepsAlive, bodyAt: end + HEAD_END.length };
}

function fieldsOf(text: string, at: number): string[] | null {
  try {
    return parseFields(text, at);
  } catch {
    return null;
  }
}
