"use client";

import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Badge, type BadgeKind } from "#components/ui/badge.tsx";
import { formatClock, formatDay, formatLatency, UNKNOWN } from "#components/ui/format.ts";
import { Panel } from "#components/ui/panel.tsx";
import { QueryBody } from "#components/ui/query-body.tsx";
import table from "#components/ui/table.module.css";
import type { Notification } from "#lib/alerts/schema.ts";
import { alertsApi } from "./alerts-api.ts";

const REFRESH_MS = 5_000;
const EVENTS = { "alert.firing": "firing", "alert.resolved": "resolved", "alert.test": "test" } as const;
const BADGES: Record<Notification["state"], BadgeKind> = {
  delivered: "ok",
  waiting: "idle",
  failed: "critical",
  dropped: "stale",
};

/** Every notice to every channel, and what the channel answered. */
export function NotificationsPanel() {
  const query = useQuery({
    queryKey: ["notifications"],
    queryFn: alertsApi.listNotifications,
    refetchInterval: REFRESH_MS,
  });
  return (
    <Panel title="Notices" note="newest 30">
      <QueryBody query={query} empty="Nothing was sent yet. A channel's Test button sends the first.">
        {(notifications) => (
          <div className={table.scroll}>
            <table className={table.table}>
              <thead>
                <tr>
                  <th scope="col">Time, UTC</th>
                  <th scope="col">Channel</th>
                  <th scope="col" className={table.wide}>
                    Notice
                  </th>
                  <th scope="col">State</th>
                  <th scope="col" className={`${table.number} ${table.wide}`}>
                    Attempts
                  </th>
                  <th scope="col" className={`${table.number} ${table.wide}`}>
                    Took
                  </th>
                  <th scope="col" className={`${table.wide} ${table.gap}`}>
                    Answer
                  </th>
                  <th scope="col" className={table.wide}>
                    <span className={table.hidden}>Send again</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {notifications.map((notification) => (
                  <NotificationRow key={notification.id} notification={notification} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </QueryBody>
    </Panel>
  );
}

function NotificationRow({ notification }: { notification: Notification }) {
  const queryClient = useQueryClient();
  const replay = useMutation({
    mutationFn: () => alertsApi.replayNotification(notification.id),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ["notifications"] }),
  });
  const createdMs = Date.parse(notification.createdAt);
  const answer = [notification.lastStatus, notification.lastAnswer].filter((part) => part !== null).join(" ");
  return (
    <tr>
      <td className={table.muted} title={`${formatDay(createdMs)} UTC`}>
        {formatClock(createdMs)}
      </td>
      <td className={`${table.strong} ${table.cut}`}>{notification.channelName}</td>
      <td className={table.wide}>{EVENTS[notification.event]}</td>
      <td>
        <Badge kind={BADGES[notification.state]}>
          {notification.state === "waiting" && notification.attempts > 0 ? "retrying" : notification.state}
        </Badge>
      </td>
      <td className={`${table.number} ${table.wide}`}>{notification.attempts}</td>
      <td className={`${table.number} ${table.wide} ${table.muted}`}>
        {notification.lastLatencyMs === null ? UNKNOWN : formatLatency(notification.lastLatencyMs)}
      </td>
      <td className={`${table.wide} ${table.gap} ${table.cut} ${table.muted}`} title={answer}>
        {replay.isError ? replay.error.message : answer || UNKNOWN}
      </td>
      <td className={`${table.number} ${table.wide}`}>
        {(notification.state === "failed" || notification.state === "dropped") && (
          <Button size="compact-sm" variant="default" loading={replay.isPending} onClick={() => replay.mutate()}>
            Send again
          </Button>
        )}
      </td>
    </tr>
  );
}
