import { z } from "zod";
import { AgentInput } from "#lib/access/schema.ts";
import { json, operatorDoor } from "#lib/http.ts";

/** Each agent with what it uses now. */
export const GET = operatorDoor(z.object({}), async ({ access }) => {
  const nowMs = Date.now();
  const agents = await access.agentKeys.list();
  return { agents: agents.map((agent) => ({ ...agent, use: access.guard.use(agent.id, nowMs) })) };
});

/** The answer holds the key, this once. */
export const POST = operatorDoor(AgentInput, async ({ access }, input) =>
  json(201, await access.agentKeys.create(input)),
);
