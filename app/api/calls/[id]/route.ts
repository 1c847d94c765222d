import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";
import { AppError } from "#lib/kit/errors.ts";
import { CallRecord } from "#lib/usage/schema.ts";

export const GET = operatorDoor(z.object({ id: z.uuid() }), async ({ database }, { id }) => {
  const call = await database.call("calls_get", { call_id: id }, CallRecord.nullable());
  if (!call) throw new AppError("not_found", "No call with this id is recorded (any more).");
  return { call };
});
