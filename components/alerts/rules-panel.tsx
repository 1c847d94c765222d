"use client";

import { Button, Switch } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Badge } from "#components/ui/badge.tsx";
import { Panel } from "#components/ui/panel.tsx";
import { QueryBody } from "#components/ui/query-body.tsx";
import type { Channel, Rule } from "#lib/alerts/schema.ts";
import type { PoolState } from "#lib/limits/schema.ts";
import { describeCondition, describeScope } from "./alert-words.ts";
import classes from "./alerts.module.css";
import { alertsApi } from "./alerts-api.ts";
import { RuleDrawer } from "./rule-drawer.tsx";

/** What is watched, and when it speaks. */
export function RulesPanel({ pools }: { pools: readonly PoolState[] }) {
  const [open, setOpen] = useState<Rule | "new" | null>(null);
  const query = useQuery({ queryKey: ["rules"], queryFn: alertsApi.listRules });
  const channels = useQuery({ queryKey: ["channels"], queryFn: alertsApi.listChannels }).data ?? [];
  return (
    <Panel
      title="Rules"
      note="checked every 2 s"
      aside={
        <Button size="compact-sm" variant="default" onClick={() => setOpen("new")}>
          Add a rule
        </Button>
      }
    >
      <QueryBody query={query} empty="No rule watches any limit: add one to be told before a limit is reached.">
        {(rules) => (
          <ul className={classes.list}>
            {rules.map((rule) => (
              <RuleRow key={rule.id} rule={rule} channels={channels} onEdit={() => setOpen(rule)} />
            ))}
          </ul>
        )}
      </QueryBody>
      <RuleDrawer
        key={open === "new" ? "new" : open?.id}
        {...{ open, pools, channels }}
        onClose={() => setOpen(null)}
      />
    </Panel>
  );
}

function RuleRow({ rule, channels, onEdit }: { rule: Rule; channels: readonly Channel[]; onEdit: () => void }) {
  const queryClient = useQueryClient();
  const toggle = useMutation({
    mutationFn: (enabled: boolean) => alertsApi.updateRule(rule.id, { enabled }),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ["rules"] }),
  });
  const told = rule.channelIds?.map((id) => channels.find((channel) => channel.id === id)?.name ?? "a deleted channel");
  return (
    <li>
      <Switch
        aria-label={`${rule.name} is on`}
        checked={toggle.isPending ? toggle.variables : rule.enabled}
        onChange={(event) => toggle.mutate(event.currentTarget.checked)}
      />
      <div className={classes.text}>
        <h3>
          {rule.name} <Badge kind={rule.enabled ? rule.severity : "idle"}>{rule.enabled ? rule.severity : "off"}</Badge>
        </h3>
        <p>
          {describeScope(rule.scope)} {describeCondition(rule)}
        </p>
        <p>tells {told ? told.join(", ") || "nobody" : "every channel"}</p>
        {toggle.isError && (
          <p className={classes.fault} role="alert">
            {toggle.error.message}
          </p>
        )}
      </div>
      <Button size="compact-sm" variant="default" onClick={onEdit} aria-label={`Edit ${rule.name}`}>
        Edit
      </Button>
    </li>
  );
}
