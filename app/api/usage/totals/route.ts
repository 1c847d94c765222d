import { operatorDoor } from "#lib/http.ts";
import { UsageTotals } from "#lib/usage/schema.ts";
import { UsageRequest } from "#lib/usage/usage-request.ts";

export const GET = operatorDoor(UsageRequest, ({ database }, query) =>
  database.call("usage_totals", { query }, UsageTotals),
);
