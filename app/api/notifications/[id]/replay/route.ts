import { z } from "zod";
import { replayNotification } from "#lib/alerts/service/alerts.ts";
import { operatorDoor } from "#lib/http.ts";

/** One more attempt with the same id, so that a receiver can tell it from a new notice. */
export const POST = operatorDoor(z.object({ id: z.uuid() }), async ({ alerting }, { id }) => ({
  notification: await replayNotification(alerting, id),
}));
