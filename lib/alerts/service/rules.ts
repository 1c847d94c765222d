import { z } from "zod";
import { AppError } from "../../kit/errors.ts";
import { Rule, type RuleInput } from "../schema.ts";
import type { AlertsContext } from "./context.ts";

/** Oldest first. */
export function listRules({ database }: AlertsContext): Promise<Rule[]> {
  return database.call("rules_list", {}, z.array(Rule));
}

/** In force within a second. Throws `invalid_input` when its lines contradict or a channel does not exist. */
export async function createRule({ database, engine }: AlertsContext, input: RuleInput): Promise<Rule> {
  requireSense(input);
  const rule = await database.call("rules_save", { rule: { ...input, id: null } }, Rule);
  engine.refresh();
  return rule;
}

/** Replaces a rule whole. An incident that it no longer covers is closed, and told so to whoever heard of it. */
export async function updateRule({ database, engine }: AlertsContext, id: string, input: RuleInput): Promise<Rule> {
  requireSense(input);
  const rule = await database.call("rules_save", { rule: { ...input, id } }, Rule.nullable());
  if (!rule) throw new AppError("not_found", "There is no such rule.");
  engine.refresh();
  return rule;
}

/** Incidents of the rule are closed, and told so to whoever heard of them. */
export async function deleteRule({ database, engine }: AlertsContext, id: string): Promise<void> {
  const { deleted } = await database.call("rules_delete", { rule_id: id }, z.object({ deleted: z.boolean() }));
  if (!deleted) throw new AppError("not_found", "There is no such rule.");
  engine.refresh();
}

function requireSense({ threshold, recoveryThreshold }: RuleInput): void {
  if (recoveryThreshold < threshold) return;
  throw new AppError(
    "invalid_input",
    `recoveryThreshold (${recoveryThreshold}) must be below threshold (${threshold}), or the alert could never settle; ${Math.round((threshold - Math.min(0.1, threshold / 2)) * 1000) / 1000} would do.`,
  );
}
