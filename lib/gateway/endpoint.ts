/**
 * How an endpoint's use is counted. messages: tokens are in the answer. unread: tokens are billed, but another answer
 * tells them (batch results, session events) or another format does. free: nothing is billed.
 */
export type EndpointKind = "messages" | "unread" | "free";

export type Endpoint = { path: string; kind: EndpointKind };

/** Reads a request target: its path without the query, and what kind of endpoint that is. */
export function readEndpoint(method: string, target: string): Endpoint {
  const query = target.indexOf("?");
  const path = query === -1 ? target : target.slice(0, query);
  return { path, kind: method === "POST" ? kindOf(path) : "free" };
}

function kindOf(path: string): EndpointKind {
  if (path === "/v1/messages") return "messages";
  const billed =
    path === "/v1/messages/batches" ||
    path === "/v1/complete" ||
    path === "/v1/chat/completions" ||
    /^\/v1\/sessions\/[^/]+\/events$/.test(path);
  return billed ? "unread" : "free";
}
