import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";

/** What traffic control sees at this moment: queues, ledgers, upstreams, and what was decided so far. */
export const GET = operatorDoor(z.object({}), ({ traffic }) => traffic.snapshot());
