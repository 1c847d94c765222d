import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";

export const DELETE = operatorDoor(z.object({ id: z.uuid() }), async ({ agentKeys }, { id }) => {
  await agentKeys.revoke(id);
  return { revoked: true };
});
