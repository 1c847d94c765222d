import { lowerCase } from "../http1/field-names.ts";
import { HOP_BY_HOP, removeNominated } from "./hop-by-hop.ts";

export const AGENT_KEY_PREFIX = "hr_";

/** A call's headers, read in one pass: what goes on to the upstream, and what Headroom itself wants to know. */
export type RequestHeaders = {
  /** Names and values in turn, as they came, credentials apart. */
  forwarded: string[];
  /** The credential headers, as they came. */
  credentials: string[];
  apiKey: string | null;
  /** What follows `Bearer`. */
  bearer: string | null;
  contentLength: string | null;
  contentEncoding: string | null;
  userAgent: string | null;
  /** `x-headroom-agent` */
  label: string | null;
  /** `x-headroom-class` */
  askedClass: string | null;
  /** `x-headroom-deadline-ms` */
  deadlineMs: string | null;
  /** `x-headroom-cache` */
  askedCache: string | null;
  /** `x-claude-code-session-id` */
  claudeCodeSession: string | null;
  /** `x-claude-code-agent-id` */
  claudeCodeAgent: string | null;
  isClaudeCode: boolean;
  /** `x-headroom-fallback` */
  fallback: string | null;
  /** Every `anthropic-beta`, joined. */
  betas: string | null;
};

/**
 * Reads the headers by RFC 9110: fields of this connection stay here (7.6.1), everything else goes on as it came, in its
 * order and spelling, duplicates included. The host is the upstream's, the length is set anew from the body that is
 * sent, expectations were met by this server (10.1.1), trailers cannot be passed on, and `x-headroom-*` is ours.
 */
export function readRequestHeaders(rawHeaders: readonly string[]): RequestHeaders {
  const read: RequestHeaders = {
    forwarded: [],
    credentials: [],
    apiKey: null,
    bearer: null,
    contentLength: null,
    contentEncoding: null,
    userAgent: null,
    label: null,
    askedClass: null,
    deadlineMs: null,
    askedCache: null,
    claudeCodeSession: null,
    claudeCodeAgent: null,
    isClaudeCode: false,
    fallback: null,
    betas: null,
  };
  let nominated: string | null = null;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const rawName = rawHeaders[at] ?? "";
    const value = rawHeaders[at + 1] ?? "";
    const name = lowerCase(rawName);
    switch (name) {
      case "x-api-key":
        // Of several an agent key counts, and is never forwarded.
        if (read.apiKey === null || value.startsWith(AGENT_KEY_PREFIX)) read.apiKey = value;
        read.credentials.push(rawName, value);
        continue;
      case "authorization":
        read.bearer = bearerOf(value, read.bearer);
        read.credentials.push(rawName, value);
        continue;
      case "connection":
        nominated = nominated === null ? value : `${nominated},${value}`;
        continue;
      case "content-length":
        read.contentLength = value;
        continue;
      case "host":
      case "expect":
      case "trailer":
        continue;
      case "cookie": {
        const others = withoutOwnCookies(value);
        if (others !== "") read.forwarded.push(rawName, others);
        continue;
      }
      case "content-encoding":
        read.contentEncoding = read.contentEncoding === null ? value : `${read.contentEncoding},${value}`;
        break;
      case "user-agent":
        read.userAgent ??= value;
        if (value.startsWith("claude-cli/") || value.startsWith("claude-code/")) read.isClaudeCode = true;
        break;
      case "x-claude-code-session-id":
        read.claudeCodeSession ??= value;
        read.isClaudeCode = true;
        break;
      case "anthropic-beta":
        read.betas = read.betas === null ? value : `${read.betas},${value}`;
        break;
      case "x-claude-code-agent-id":
        read.claudeCodeAgent ??= value;
        read.isClaudeCode = true;
        break;
      default:
        if (HOP_BY_HOP.has(name)) continue;
        if (name.startsWith("x-headroom-")) {
          if (name === "x-headroom-agent") read.label ??= value;
          else if (name === "x-headroom-class") read.askedClass ??= value;
          else if (name === "x-headroom-deadline-ms") read.deadlineMs ??= value;
          else if (name === "x-headroom-fallback") read.fallback ??= value;
          else if (name === "x-headroom-cache") read.askedCache ??= value;
          continue;
        }
    }
    read.forwarded.push(rawName, value);
  }
  if (nominated !== null) read.forwarded = removeNominated(read.forwarded, nominated);
  return read;
}

/** Of several an agent key counts, which is taken without the word `Bearer` too: it must not get upstream. */
function bearerOf(value: string, before: string | null): string | null {
  if (value.startsWith(AGENT_KEY_PREFIX)) return value;
  const bearer = /^bearer\s+(\S+)/i.exec(value)?.[1] ?? null;
  return before === null || bearer?.startsWith(AGENT_KEY_PREFIX) ? bearer : before;
}

/** A browser with the dashboard open sends its session along; that is nobody's business upstream. */
function withoutOwnCookies(value: string): string {
  if (!/headroom/i.test(value)) return value;
  const others = value.split(";").filter((pair) => !/^\s*(?:__Host-|__Secure-)?headroom/i.test(pair));
  return others.join(";").trim();
}
