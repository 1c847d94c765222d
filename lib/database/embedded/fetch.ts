import type { RpcHandler } from "./rpc.ts";

/** The handler as the `fetch` of a supabase-js client: the whole way of a call without a socket. */
export function fetchOf(handler: RpcHandler): typeof fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const url = new URL(request.url);
    const body = request.method === "GET" || request.method === "HEAD" ? "" : await request.text();
    const answer = await handler({
      method: request.method,
      path: url.pathname,
      key: request.headers.get("apikey"),
      body,
    });
    return new Response(answer.status === 204 ? null : answer.body, {
      status: answer.status,
      headers: { "content-type": "application/json; charset=utf-8" },
    });
  };
}
