import type { IncomingMessage } from "node:http";
import { ApiError } from "./api-error.ts";

/** By what a caller is known: an API key, a claude.ai login, or an Admin key, each with endpoints of its own. */
export type Credential = "key" | "subscription" | "admin";

const OAUTH_BETA = "oauth-2025-04-20";

export type Acceptor = (key: string) => boolean;

/** Default: every key of Anthropic's shape is known. */
export function acceptor(apiKeys: readonly string[] | undefined): Acceptor {
  if (!apiKeys) return (key) => key.startsWith("sk-ant-");
  const known = new Set(apiKeys);
  return (key) => known.has(key);
}

/**
 * Either header carries a key: older SDKs send `x-api-key`, those of the new majors a bearer token. A login's token goes
 * in `Authorization` alone, with its beta. Admin endpoints take Admin keys and nothing else, all others anything else.
 */
export function authenticate(request: IncomingMessage, accepts: Acceptor): Credential {
  const apiKey = request.headers["x-api-key"];
  const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (typeof apiKey === "string" && apiKey !== "") {
    if (!accepts(apiKey) || apiKey.startsWith("sk-ant-oat")) throw refused("invalid x-api-key");
    return kindOf(apiKey, request, "invalid x-api-key");
  }
  if (bearer === undefined) throw refused("x-api-key header is required");
  if (!accepts(bearer)) throw refused("Invalid bearer token");
  if (bearer.startsWith("sk-ant-oat")) {
    const betas = String(request.headers["anthropic-beta"] ?? "");
    if (!betas.includes(OAUTH_BETA)) throw refused("OAuth authentication is currently not supported.");
    return "subscription";
  }
  return kindOf(bearer, request, "Invalid bearer token");
}

function kindOf(key: string, request: IncomingMessage, message: string): Credential {
  const admin = key.startsWith("sk-ant-admin");
  if (admin !== (request.url ?? "").startsWith("/v1/organizations/")) throw refused(message);
  return admin ? "admin" : "key";
}

function refused(message: string): ApiError {
  return new ApiError(401, "authentication_error", message);
}
