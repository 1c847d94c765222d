import type { AgentSettings } from "../access/schema.ts";
import { type OwnAnswer, ownAnswers } from "./own-answer.ts";
import type { RequestHeaders } from "./request-headers.ts";

/** `settings` bounds the class of its calls, and may ask for a cache; without them they are normal and have none. */
export type AgentKey = {
  id: string;
  name: string;
  settings?: Pick<AgentSettings, "maxClass" | "defaultClass" | "responseCacheS">;
};

/** Whose call it is and which credential it goes out with, or why it does not. */
export type Credential =
  | { kind: "admitted"; agentKey: AgentKey | null; headers: readonly string[]; secret: string }
  | { kind: "refused"; agentKey: AgentKey | null; answer: OwnAnswer };

export type CredentialRules = {
  /** `isLoaded` is false while keys could not be read yet. */
  agentKeys: { find(secret: string): AgentKey | null; readonly isLoaded?: boolean };
  /** The upstream's credential; null when none is configured. */
  apiKey: string | null;
  /** Whether credentials other than agent keys go through untouched. */
  passThrough: boolean;
};

const AGENT_KEY_PREFIX = "hr_";

/**
 * Judges a call's credential. An agent key, in whichever of the two headers it comes, is replaced by the upstream's
 * credential; any other goes through as it came, where that is allowed.
 */
export function judgeCredential(headers: RequestHeaders, path: string, rules: CredentialRules): Credential {
  const secret = [headers.apiKey, headers.bearer].find((value) => value?.startsWith(AGENT_KEY_PREFIX));
  if (!secret) {
    // Claude Code's probe brings no credential and asks for nothing.
    if (rules.passThrough || path === "/api/hello") {
      return {
        kind: "admitted",
        agentKey: null,
        headers: headers.credentials,
        secret: headers.apiKey ?? headers.bearer ?? "",
      };
    }
    const message =
      "This gateway takes Headroom agent keys only: ask an operator for one (it begins with hr_) and send it as x-api-key or Authorization: Bearer.";
    return { kind: "refused", agentKey: null, answer: ownAnswers.unauthenticated(message) };
  }
  const agentKey = rules.agentKeys.find(secret);
  if (agentKey === null && rules.agentKeys.isLoaded === false) {
    return { kind: "refused", agentKey, answer: ownAnswers.starting() };
  }
  if (agentKey === null) {
    const message = "Headroom does not know this agent key: it was mistyped or revoked. Ask an operator for a new one.";
    return { kind: "refused", agentKey, answer: ownAnswers.unauthenticated(message) };
  }
  if (rules.apiKey === null) return { kind: "refused", agentKey, answer: ownAnswers.noUpstreamCredential() };
  return { kind: "admitted", agentKey, headers: ["x-api-key", rules.apiKey], secret: rules.apiKey };
}
