import { z } from "zod";
import { rotateChannelSecret } from "#lib/alerts/service/channels.ts";
import { operatorDoor } from "#lib/http.ts";

/** A new signing secret, shown this once; for a while both sign. */
export const POST = operatorDoor(z.object({ id: z.uuid() }), async ({ alerting }, { id }) => {
  const { secret, ...channel } = await rotateChannelSecret(alerting, id);
  return { channel, secret };
});
