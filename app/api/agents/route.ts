import { z } from "zod";
import { AgentInput } from "#lib/access/schema.ts";
import { json, operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(z.object({}), async ({ agentKeys }) => ({ agents: await agentKeys.list() }));

export const POST = operatorDoor(AgentInput, async ({ agentKeys }, input) => json(201, await agentKeys.create(input)));
