import { NotificationsQuery } from "#lib/alerts/schema.ts";
import { listNotifications } from "#lib/alerts/service/alerts.ts";
import { operatorDoor } from "#lib/http.ts";

export const GET = operatorDoor(NotificationsQuery, ({ alerting }, query) => listNotifications(alerting, query));
