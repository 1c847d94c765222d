import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";

/** For Prometheus; give it the admin token as its bearer token. */
export const GET = operatorDoor(z.object({}), async ({ metrics, overview, traffic, cache }) => {
  const { contentType, text } = await metrics.render(overview.first(), traffic.snapshot(), cache.state);
  return new Response(text, { headers: { "content-type": contentType, "cache-control": "no-store" } });
});
