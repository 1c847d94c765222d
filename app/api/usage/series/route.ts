import { operatorDoor } from "#lib/http.ts";
import { UsageSeries } from "#lib/usage/schema.ts";
import { UsageRequest } from "#lib/usage/usage-request.ts";

export const GET = operatorDoor(UsageRequest, ({ database }, query) =>
  database.call("usage_series", { query }, UsageSeries),
);
