import { getRuntime } from "#lib/runtime.ts";

/** Claude Code's probe, the one agents' path outside `/v1`. */
export async function HEAD(request: Request): Promise<Response> {
  return (await getRuntime()).gateway.handleWeb(request);
}

export { DELETE, GET, PATCH, POST, PUT } from "../[...path]/route.ts";
export const dynamic = "force-dynamic";
