import { lowerCase } from "../http1/field-names.ts";
import { HOP_BY_HOP, removeNominated } from "./hop-by-hop.ts";

const RATE_LIMIT = /^(?:anthropic-(?:ratelimit|priority|fast)|x-ratelimit)-/i;

/** An upstream answer's headers, read in one pass. */
export type AnswerHeaders = {
  /** Names and values in turn, as they came. */
  forwarded: string[];
  isEventStream: boolean;
  contentEncoding: string | null;
  /** Null when the answer does not say how long it is. */
  contentLength: number | null;
  requestId: string | null;
  organizationId: string | null;
  date: string | null;
};

/**
 * Reads the headers, names and values in turn. All but the connection's own fields go to the client as they came,
 * duplicates and spelling included.
 */
export function readAnswerHeaders(rawHeaders: readonly string[]): AnswerHeaders {
  const read: AnswerHeaders = {
    forwarded: [],
    isEventStream: false,
    contentEncoding: null,
    contentLength: null,
    requestId: null,
    organizationId: null,
    date: null,
  };
  let nominated: string | null = null;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const rawName = rawHeaders[at] ?? "";
    const value = rawHeaders[at + 1] ?? "";
    const name = lowerCase(rawName);
    switch (name) {
      case "connection":
        nominated = nominated === null ? value : `${nominated},${value}`;
        continue;
      case "content-type":
        read.isEventStream = /^\s*text\/event-stream\b/i.test(value);
        break;
      case "content-encoding":
        read.contentEncoding = read.contentEncoding === null ? value : `${read.contentEncoding},${value}`;
        break;
      case "content-length":
        read.contentLength = /^\d{1,15}$/.test(value) ? Number(value) : null;
        break;
      case "request-id":
        read.requestId = value;
        break;
      case "anthropic-organization-id":
        read.organizationId = value;
        break;
      case "date":
        read.date = value;
        break;
      default:
        if (HOP_BY_HOP.has(name)) continue;
    }
    read.forwarded.push(rawName, value);
  }
  if (nominated !== null) read.forwarded = removeNominated(read.forwarded, nominated);
  return read;
}

/** Without what an upstream says of its limits, which are the whole organisation's. `retry-after` stays: it is true. */
export function withoutRateLimits(rawHeaders: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (!RATE_LIMIT.test(name)) kept.push(name, rawHeaders[at + 1] ?? "");
  }
  return kept;
}
