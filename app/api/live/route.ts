import { z } from "zod";
import { operatorDoor } from "#lib/http.ts";
import { liveFeed } from "#lib/overview/live-feed.ts";

export const GET = operatorDoor(z.object({}), ({ overview }, _, request) => liveFeed(overview, request.signal));
