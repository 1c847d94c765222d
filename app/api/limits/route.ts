import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";

/** Every pool × limiter as one flat list. */
export const GET = operatorDoor(z.object({}), ({ limits }) => ({
  limits: limits.states().flatMap(({ limiters, ...pool }) => limiters.map((limiter) => ({ ...pool, ...limiter }))),
}));
