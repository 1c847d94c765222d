import { operatorDoor } from "#lib/http.ts";
import { ReconciliationQuery } from "#lib/reconciliation/schema.ts";

export const GET = operatorDoor(ReconciliationQuery, ({ reconciliation }, query) => reconciliation.compare(query));
