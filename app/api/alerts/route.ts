import { AlertsQuery } from "#lib/alerts/schema.ts";
import { listAlerts } from "#lib/alerts/service/alerts.ts";
import { operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(AlertsQuery, ({ alerting }, query) => listAlerts(alerting, query));
