import { getRuntime } from "#lib/runtime.ts";

/** The agents' door where no custom server can run: `next dev`, `next start` and serverless hosts. */
async function handle(request: Request): Promise<Response> {
  return (await getRuntime()).gateway.handleWeb(request);
}

// All that Next lets a route answer; what is left out here it would answer by itself.
export {
  handle as DELETE,
  handle as GET,
  handle as HEAD,
  handle as OPTIONS,
  handle as PATCH,
  handle as POST,
  handle as PUT,
};
export const dynamic = "force-dynamic";
export const maxDuration = 800;
