import { AppError } from "../../kit/errors.ts";
import {
  Alert,
  AlertsPage,
  type AlertsQuery,
  Notification,
  NotificationsPage,
  type NotificationsQuery,
} from "../schema.ts";
import type { AlertsContext } from "./context.ts";

/** Newest first; pending ones only when asked for by state. */
export function listAlerts({ database }: AlertsContext, query: AlertsQuery): Promise<AlertsPage> {
  return database.call("alerts_list", { filter: query }, AlertsPage);
}

export async function getAlert({ database }: AlertsContext, id: string): Promise<Alert> {
  const alert = await database.call("alerts_get", { alert_id: id }, Alert.nullable());
  if (!alert) throw new AppError("not_found", "There is no such alert.");
  return alert;
}

/** The delivery log, newest first. */
export function listNotifications({ database }: AlertsContext, query: NotificationsQuery): Promise<NotificationsPage> {
  return database.call("notifications_list", { filter: query }, NotificationsPage);
}

/** Sends a notice once more under the same id, whatever became of it. One that still waits is left as it is. */
export async function replayNotification({ database, deliverer }: AlertsContext, id: string): Promise<Notification> {
  const notification = await database.call("notifications_replay", { notification_id: id }, Notification.nullable());
  if (!notification) throw new AppError("not_found", "There is no such notification.");
  deliverer.wake();
  return notification;
}
