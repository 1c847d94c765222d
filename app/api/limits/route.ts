import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";

/** Every pool × limiter as one flat list, and the windows of subscriptions. */
export const GET = operatorDoor(z.object({}), ({ limits, windows }) => ({
  limits: limits.states().flatMap(({ limiters, ...pool }) => limiters.map((limiter) => ({ ...pool, ...limiter }))),
  windows: windows.states(),
}));
