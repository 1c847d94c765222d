import { z } from "zod";
import { RuleInput } from "#lib/alerts/schema.ts";
import { deleteRule, listRules, updateRule } from "#lib/alerts/service/rules.ts";
import { operatorDoor } from "#lib/http.ts";
import { AppError } from "#lib/kit/errors.ts";

const Id = z.object({ id: z.uuid() });

/** Changes what is given and leaves the rest as it is. */
export const PATCH = operatorDoor(Id.loose(), async ({ alerting }, { id, ...change }) => {
  const rule = (await listRules(alerting)).find((known) => known.id === id);
  if (!rule) throw new AppError("not_found", "There is no such rule.");
  return { rule: await updateRule(alerting, id, RuleInput.parse({ ...rule, ...change })) };
});

export const DELETE = operatorDoor(Id, async ({ alerting }, { id }) => {
  await deleteRule(alerting, id);
  return { deleted: true };
});
