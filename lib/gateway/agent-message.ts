import { IncomingMessage } from "node:http";
import { lowerCase } from "../http1/field-names.ts";
import { originForm } from "./node-door.ts";

/** What Node's server itself wants to know of a request's headers. */
const LOOKED_AT: ReadonlySet<string> = new Set(["host", "expect", "te"]);

/**
 * A request whose `headers` hold, where it is an agent's, nothing but what Node's server looks for: it does so in every
 * request, and to build an object of all headers for that costs more than to forward them. The gateway reads the raw ones.
 */
export class AgentMessage extends IncomingMessage {}

/** Claude Code's probe is the one agents' path outside `/v1`. */
export function isAgentCall({ url = "/", method }: IncomingMessage): boolean {
  const path = originForm(url);
  return path.startsWith("/v1/") || (method === "HEAD" && path.startsWith("/api/hello"));
}

const whole = Object.getOwnPropertyDescriptor(IncomingMessage.prototype, "headers");

Object.defineProperty(AgentMessage.prototype, "headers", {
  ...whole,
  get(this: IncomingMessage) {
    return isAgentCall(this) ? lookedAt(this.rawHeaders) : whole?.get?.call(this);
  },
});

function lookedAt(rawHeaders: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = lowerCase(rawHeaders[at] ?? "");
    if (LOOKED_AT.has(name)) headers[name] ??= rawHeaders[at + 1] ?? "";
  }
  return headers;
}
