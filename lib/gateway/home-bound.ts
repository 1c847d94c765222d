import type { CollectedBody } from "./collected-body.ts";
import type { Endpoint } from "./endpoint.ts";
import type { RequestHeaders } from "./request-headers.ts";

/** Betas whose requests name what an earlier call left behind at one upstream. */
const BETAS = /\b(?:files-api|skills|code-execution|message-threads|fallback-credit)-/;
/** Members that do so. Within a prompt's text their quotes would be escaped. */
const MEMBERS = ['"file_id"', '"container"'] as const;
/** Nothing in these is about what an earlier call left, unless its body says so. */
const STATELESS = /^\/v1\/(?:messages(?:\/count_tokens)?|models(?:\/[^/]+)?|chat\/completions|complete)$/;

/**
 * Whether a call is about what lies at one upstream: files, batches, skills, sessions, containers. Where several serve
 * agent keys these live at the first, and every call about them goes there.
 */
export function isHomeBound({ path }: Endpoint, headers: RequestHeaders, body: CollectedBody | null): boolean {
  if (!STATELESS.test(path)) return true;
  if (headers.betas !== null && BETAS.test(headers.betas)) return true;
  return body !== null && MEMBERS.some((member) => body.includes(member));
}
