import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";

/** Makes a real request with the upstream's key and tells how it went. */
export const POST = operatorDoor(z.object({ id: z.string().max(100) }), async ({ access }, { id }) => ({
  test: await access.upstreams.test(id),
}));
