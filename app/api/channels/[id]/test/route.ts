import { z } from "zod";
import { testChannel } from "#lib/alerts/service/channels.ts";
import { operatorDoor } from "#lib/http.ts";

/** Sends a test notice on the real path and tells how it went. */
export const POST = operatorDoor(z.object({ id: z.uuid() }), async ({ alerting }, { id }) => ({
  notification: await testChannel(alerting, id),
}));
