import { operatorDoor } from "#lib/http.ts";
import { CallsPage, CallsQuery } from "#lib/usage/schema.ts";

export const GET = operatorDoor(CallsQuery, ({ database }, filter) =>
  database.call("calls_list", { filter }, CallsPage),
);
