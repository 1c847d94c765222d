import { z } from "zod";
import { UpstreamChange } from "#lib/access/schema.ts";
import { operatorDoor } from "#lib/http.ts";

const Id = z.object({ id: z.string().max(100) });

/** Changes what is given and leaves the rest as it is. */
export const PATCH = operatorDoor(UpstreamChange.extend(Id.shape), async ({ access }, { id, ...change }) => ({
  upstream: await access.upstreams.update(id, change),
}));

export const DELETE = operatorDoor(Id, async ({ access }, { id }) => {
  await access.upstreams.delete(id);
  return { deleted: true };
});
