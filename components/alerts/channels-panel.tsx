"use client";

import { Button, Switch } from "@mantine/core";
import { IconMail, IconWebhook } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Badge } from "#components/ui/badge.tsx";
import { formatLatency } from "#components/ui/format.ts";
import { Panel } from "#components/ui/panel.tsx";
import { QueryBody } from "#components/ui/query-body.tsx";
import type { Channel, Notification } from "#lib/alerts/schema.ts";
import classes from "./alerts.module.css";
import { alertsApi } from "./alerts-api.ts";
import { ChannelDrawer } from "./channel-drawer.tsx";
import { DeleteButton } from "./delete-button.tsx";

/** Who is told. */
export function ChannelsPanel() {
  const [isAdding, setIsAdding] = useState(false);
  const query = useQuery({ queryKey: ["channels"], queryFn: alertsApi.listChannels });
  return (
    <Panel
      id="channels"
      title="Channels"
      note="who is told"
      aside={
        <Button size="compact-sm" variant="default" onClick={() => setIsAdding(true)}>
          Add a channel
        </Button>
      }
    >
      <QueryBody query={query} empty="Nobody is told yet: add a webhook or a mail address before you need it.">
        {(channels) => (
          <ul className={classes.list}>
            {channels.map((channel) => (
              <ChannelRow key={channel.id} channel={channel} />
            ))}
          </ul>
        )}
      </QueryBody>
      <ChannelDrawer isOpen={isAdding} onClose={() => setIsAdding(false)} />
    </Panel>
  );
}

function ChannelRow({ channel }: { channel: Channel }) {
  const queryClient = useQueryClient();
  const refresh = () => queryClient.invalidateQueries({ queryKey: ["channels"] });
  const toggle = useMutation({
    mutationFn: (enabled: boolean) => alertsApi.updateChannel(channel.id, { enabled }),
    onSettled: refresh,
  });
  const test = useMutation({
    mutationFn: () => alertsApi.testChannel(channel.id),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ["notifications"] }),
  });
  const Icon = channel.kind === "webhook" ? IconWebhook : IconMail;
  const fault = toggle.error ?? test.error;
  return (
    <li>
      <Switch
        aria-label={`${channel.name} is on`}
        checked={toggle.isPending ? toggle.variables : channel.enabled}
        onChange={(event) => toggle.mutate(event.currentTarget.checked)}
      />
      <div className={classes.text}>
        <h3>
          <Icon size={16} stroke={1.6} aria-label={channel.kind} role="img" /> {channel.name}
          {!channel.enabled && <Badge kind="idle">off</Badge>}
        </h3>
        <p className={classes.address}>{addressOf(channel)}</p>
        {channel.disabledReason && <p className={classes.fault}>Switched off by Headroom: {channel.disabledReason}</p>}
        <div aria-live="polite">
          {test.data && <TestAnswer notification={test.data.notification} />}
          {fault && <p className={classes.fault}>{fault.message}</p>}
        </div>
      </div>
      <div className={classes.rowActions}>
        <Button
          size="compact-sm"
          variant="default"
          loading={test.isPending}
          onClick={() => test.mutate()}
          aria-label={`Test ${channel.name}`}
        >
          Test
        </Button>
        <DeleteButton
          compact
          label={channel.name}
          onDelete={() => alertsApi.deleteChannel(channel.id)}
          onDone={() => void refresh()}
        />
      </div>
    </li>
  );
}

function TestAnswer({ notification }: { notification: Notification }) {
  const delivered = notification.state === "delivered";
  return (
    <p className={classes.answer}>
      <Badge kind={delivered ? "ok" : "critical"}>{delivered ? "delivered" : "not delivered"}</Badge>{" "}
      {[
        notification.lastStatus !== null && `status ${notification.lastStatus}`,
        notification.lastLatencyMs !== null && formatLatency(notification.lastLatencyMs),
        notification.lastAnswer,
      ]
        .filter(Boolean)
        .join(" · ")}
    </p>
  );
}

function addressOf({ kind, settings }: Channel): string {
  if (kind === "webhook") return String(settings.url ?? "");
  return Array.isArray(settings.to) ? settings.to.join(", ") : "";
}
