import { z } from "zod";
import { RuleInput } from "#lib/alerts/schema.ts";
import { createRule, listRules } from "#lib/alerts/service/rules.ts";
import { json, operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(z.object({}), async ({ alerting }) => ({ rules: await listRules(alerting) }));

export const POST = operatorDoor(RuleInput, async ({ alerting }, input) =>
  json(201, { rule: await createRule(alerting, input) }),
);
