import type { AgentSettings } from "../access/schema.ts";
import { type OwnAnswer, ownAnswers } from "./own-answer.ts";
import { AGENT_KEY_PREFIX, type RequestHeaders } from "./request-headers.ts";
import type { OwnCredential } from "./upstream-set.ts";

/** `settings` bounds the class of its calls, and may ask for a cache; without them they are normal and have none. */
export type AgentKey = {
  id: string;
  name: string;
  settings?: Pick<AgentSettings, "maxClass" | "defaultClass" | "responseCacheS" | "maxWaitS">;
};

/**
 * Whose call it is, or why it does not go out. `own` is the credential that goes through untouched; null where the call
 * goes out with an upstream's.
 */
export type Credential =
  | { kind: "admitted"; agentKey: AgentKey; own: null }
  | { kind: "admitted"; agentKey: null; own: OwnCredential }
  | { kind: "refused"; agentKey: AgentKey | null; answer: OwnAnswer };

export type CredentialRules = {
  /** `isLoaded` is false while keys could not be read yet. */
  agentKeys: { find(secret: string): AgentKey | null; readonly isLoaded?: boolean };
  /** Whether any upstream has a credential for them. */
  upstreams: { readonly isConfigured: boolean };
  /** Whether credentials other than agent keys go through untouched. */
  passThrough: boolean;
};

/**
 * Judges a call's credential. An agent key, in whichever of the two headers it comes, is replaced by the upstream's
 * credential; any other goes through as it came, where that is allowed.
 */
export function judgeCredential(headers: RequestHeaders, path: string, rules: CredentialRules): Credential {
  const secret = [headers.apiKey, headers.bearer].find((value) => value?.startsWith(AGENT_KEY_PREFIX));
  if (!secret) {
    // Claude Code's probe brings no credential and asks for nothing.
    if (rules.passThrough || path === "/api/hello") {
      const own = { headers: headers.credentials, secret: headers.apiKey ?? headers.bearer ?? "" };
      return { kind: "admitted", agentKey: null, own };
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
  if (!rules.upstreams.isConfigured) return { kind: "refused", agentKey, answer: ownAnswers.noUpstreamCredential() };
  return { kind: "admitted", agentKey, own: null };
}
