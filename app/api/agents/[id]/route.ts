import { z } from "zod";
import { AgentChange } from "#lib/access/schema.ts";
import { operatorDoor } from "#lib/http.ts";

const Id = z.object({ id: z.uuid() });

/** Changes what is given and leaves the rest as it is. */
export const PATCH = operatorDoor(AgentChange.extend(Id.shape), async ({ access }, { id, ...change }) => ({
  agent: await access.agentKeys.update(id, change),
}));

export const DELETE = operatorDoor(Id, async ({ access }, { id }) => {
  await access.agentKeys.revoke(id);
  return { revoked: true };
});
