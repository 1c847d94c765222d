import { z } from "zod";
import { RotateInput } from "#lib/access/schema.ts";
import { json, operatorDoor } from "#lib/http.ts";

/** A new key, in this answer only; the old one stays valid for `overlapHours`. */
export const POST = operatorDoor(RotateInput.extend({ id: z.uuid() }), async ({ access }, { id, ...input }) =>
  json(201, await access.agentKeys.rotate(id, input)),
);
