import { z } from "zod";
import { UpstreamInput } from "#lib/access/schema.ts";
import { json, operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(z.object({}), async ({ access }) => ({ upstreams: await access.upstreams.list() }));

export const POST = operatorDoor(UpstreamInput, async ({ access }, input) =>
  json(201, { upstream: await access.upstreams.create(input) }),
);
