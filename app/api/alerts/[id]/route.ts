import { z } from "zod";
import { getAlert } from "#lib/alerts/service/alerts.ts";
import { operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(z.object({ id: z.uuid() }), async ({ alerting }, { id }) => ({
  alert: await getAlert(alerting, id),
}));
