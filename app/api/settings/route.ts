import { z } from "zod";
import { GatewaySettingsChange } from "#lib/access/schema.ts";
import { operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(z.object({}), async ({ access }) => ({ settings: await access.settings.refresh() }));

/** Changes what is given and leaves the rest as it is. */
export const PATCH = operatorDoor(GatewaySettingsChange, async ({ access }, change) => ({
  settings: await access.settings.update(change),
}));
