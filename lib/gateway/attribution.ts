import type { CallRecord } from "../usage/schema.ts";
import { cleanText, headerText } from "./clean-text.ts";
import type { RequestHeaders } from "./request-headers.ts";

/** Who made a call, and all that it says of that, be it believed or not. */
export type Attribution = Pick<
  CallRecord,
  "agent" | "agentSource" | "agentKeyId" | "session" | "client" | "label" | "userId" | "clientAgent"
>;

export type Caller = {
  agentKey: { id: string; name: string } | null;
  headers: RequestHeaders;
  /** Whether `x-headroom-agent` is believed. */
  believeLabel: boolean;
  /** `metadata.user_id` of the body, where it was read. */
  userId: string | null;
};

/** The first that names somebody: agent key, label, Claude Code, `metadata.user_id`, the client program. */
export function attribute({ agentKey, headers, believeLabel, userId }: Caller): Attribution {
  const client = cleanText(headerText(headers.userAgent));
  const label = cleanText(headerText(headers.label));
  const user = cleanText(userId);
  const said = {
    agentKeyId: agentKey?.id ?? null,
    session: cleanText(headerText(headers.claudeCodeSession)) ?? (userId === null ? null : sessionOf(userId)),
    client,
    label,
    userId: user,
    clientAgent: cleanText(headerText(headers.claudeCodeAgent)),
  };
  const named = (agent: string | null, agentSource: CallRecord["agentSource"]) =>
    agent === null ? null : { agent, agentSource, ...said };
  return (
    named(agentKey && (cleanText(agentKey.name) ?? agentKey.id), "key") ??
    named(believeLabel ? label : null, "label") ??
    named(headers.isClaudeCode ? "Claude Code" : null, "claude_code") ??
    named(user, "user_id") ??
    named(client && programName(client), "client") ?? { agent: "unknown", agentSource: "unknown", ...said }
  );
}

/** "Anthropic/JS" of "Anthropic/JS 1.12.0": a new version is not a new agent. */
function programName(client: string): string {
  return /^(.*?)[/ ]v?\d/.exec(client)?.[1] || client;
}

/** The account that Claude Code names in `metadata.user_id`, in either of the forms below. */
export function accountOf(userId: string): string | null {
  return /account(?:_uuid"\s*:\s*"|_)([0-9a-fA-F-]{36})/.exec(userId)?.[1] ?? null;
}

/** Claude Code puts its session into `metadata.user_id`, as JSON text or, in older versions, after `_session_`. */
function sessionOf(userId: string): string | null {
  return cleanText(/(?:session_id"\s*:\s*"|_session_)([0-9a-zA-Z-]{8,64})/.exec(userId)?.[1] ?? null);
}
