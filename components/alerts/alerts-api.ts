import { send } from "#components/ui/send.ts";
import type { Alert, Channel, ChannelInput, Notification, Rule, RuleInput } from "#lib/alerts/schema.ts";

/** The doors of `/api` that this page uses. Each throws an Error with the gateway's own sentence. */
export const alertsApi = {
  listAlerts: () => send<{ alerts: Alert[] }>("GET", "/api/alerts?limit=50").then((answer) => answer.alerts),
  listRules: () => send<{ rules: Rule[] }>("GET", "/api/rules").then((answer) => answer.rules),
  createRule: (rule: RuleInput) => send("POST", "/api/rules", rule),
  updateRule: (id: string, change: Partial<RuleInput>) => send("PATCH", `/api/rules/${id}`, change),
  deleteRule: (id: string) => send("DELETE", `/api/rules/${id}`),
  listChannels: () => send<{ channels: Channel[] }>("GET", "/api/channels").then((answer) => answer.channels),
  createChannel: (channel: ChannelInput) =>
    send<{ channel: Channel; secret: string | null }>("POST", "/api/channels", channel),
  updateChannel: (id: string, change: { enabled: boolean }) => send("PATCH", `/api/channels/${id}`, change),
  deleteChannel: (id: string) => send("DELETE", `/api/channels/${id}`),
  testChannel: (id: string) => send<{ notification: Notification }>("POST", `/api/channels/${id}/test`),
  listNotifications: () =>
    send<{ notifications: Notification[] }>("GET", "/api/notifications?limit=30").then(
      (answer) => answer.notifications,
    ),
  replayNotification: (id: string) => send("POST", `/api/notifications/${id}/replay`),
};
