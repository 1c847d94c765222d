import { request } from "undici";
import { z } from "zod";
import { messageOf } from "../kit/errors.ts";
import type { UpstreamKind, UpstreamTest } from "./schema.ts";

const TIMEOUT_MS = 10_000;
const PATH: Record<UpstreamKind, string> = { api: "/v1/models?limit=1000", admin: "/v1/organizations/rate_limits" };
const Page = z.object({ data: z.array(z.unknown()) });

/**
 * Asks an upstream something that costs nothing, with its key. Never throws; redirects are not followed, so that the
 * key goes to no other host. The message never holds what the upstream sent.
 */
export async function testUpstream(upstream: {
  kind: UpstreamKind;
  baseUrl: string;
  apiKey: string;
}): Promise<UpstreamTest> {
  const startedAt = performance.now();
  const done = (ok: boolean, status: number | null, message: string): UpstreamTest => {
    return { ok, status, latencyMs: Math.round(performance.now() - startedAt), message };
  };
  try {
    const { statusCode, body } = await request(`${upstream.baseUrl}${PATH[upstream.kind]}`, {
      headers: { "x-api-key": upstream.apiKey, "anthropic-version": "2023-06-01" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const page = Page.safeParse(await body.json().catch(() => null));
    const { host } = new URL(upstream.baseUrl);
    if (statusCode === 200 && page.success) return done(true, statusCode, good(upstream.kind, page.data.data.length));
    return done(false, statusCode, bad(statusCode, host));
  } catch (error) {
    const { host } = new URL(upstream.baseUrl);
    const isLate = error instanceof Error && error.name === "TimeoutError";
    const code = error instanceof Error && "code" in error ? String(error.code) : messageOf(error);
    const why = isLate ? `no answer within ${TIMEOUT_MS / 1000} s` : code;
    return done(false, null, `${host} cannot be reached (${why}): check the address and this machine's network.`);
  }
}

function good(kind: UpstreamKind, found: number): string {
  return kind === "api"
    ? `The key works: it sees ${found} models.`
    : `The key works: it sees ${found} groups of limits.`;
}

function bad(status: number, host: string): string {
  if (status === 401) return `${host} does not accept the key (401): it was mistyped, deleted or disabled.`;
  if (status === 403) return `${host} knows the key but does not let it ask (403): check its permissions.`;
  if (status === 404) return `${host} has no Claude API at this address (404): check the base URL.`;
  if (status === 200) return `${host} answered, but not as the Claude API does: check the base URL.`;
  if (status === 429) return `${host} limits the key's rate at the moment (429): the key is known; try again.`;
  return `${host} answered ${status}: try again, and check the base URL if it stays.`;
}
