import type { Readable } from "node:stream";
import { Http1Error } from "./errors.ts";
import { knownName } from "./field-names.ts";

export type Http1Request = {
  method: string;
  /** Path and query. */
  target: string;
  /** Names and values in turn, without host, connection, content-length and transfer-encoding. */
  headers: readonly string[];
  /** Pieces that are there already, or a stream; null for none. */
  body: readonly Buffer[] | Readable | null;
  /** Of a body that streams; null where it is not known, which sends it in chunks. */
  contentLength: number | null;
  /** From the sent request to the answer's head, where it is another than the client's. */
  headersMs?: number;
};

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** RFC 9110, 5.5: visible characters, spaces and tabs. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;
/** Methods whose requests say that they have no body (RFC 9110, 8.6). */
const EXPECTS_BODY = new Set(["POST", "PUT", "PATCH"]);

/** How a request's body is delimited (RFC 9112, 6): by its length, in chunks, or not at all. */
export type Framing = number | "chunked" | "none";

function framingOf({ method, body, contentLength }: Http1Request): Framing {
  if (body !== null && "pipe" in body) return contentLength ?? "chunked";
  const length = body?.reduce((sum, chunk) => sum + chunk.length, 0) ?? 0;
  return length > 0 || EXPECTS_BODY.has(method) ? length : "none";
}

export type RequestHead = { text: string; framing: Framing };

/** The request's head with its empty line. Throws `HTTP1_REQUEST` for what would be another request on the wire. */
export function renderHead(request: Http1Request, host: string): RequestHead {
  const framing = framingOf(request);
  const { method, target, headers } = request;
  if (!TOKEN.test(method)) throw new Http1Error("HTTP1_REQUEST", "its method is not a token");
  if (!TARGET.test(target)) throw new Http1Error("HTTP1_REQUEST", "its path has characters that no path may have");
  let head = `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n`;
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? "";
    const value = headers[at + 1] ?? "";
    if (knownName(name) === null)
      throw new Http1Error("HTTP1_REQUEST", "the name of one of its headers is not a token");
    if (!VALUE.test(value))
      throw new Http1Error("HTTP1_REQUEST", `its header ${name} has characters that none may have`);
    head += `${name}: ${value}\r\n`;
  }
  if (framing === "chunked") head += "transfer-encoding: chunked\r\n";
  else if (framing !== "none") head += `content-length: ${framing}\r\n`;
  return { text: `${head}\r\n`, framing };
}
