import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";

/** The overview of this instant, as `/api/live` repeats it. */
export const GET = operatorDoor(z.object({}), ({ overview }) => overview.first());
