"use client";

import { useQuery } from "@tanstack/react-query";
import { LIMITER_WORDS } from "#components/overview/limiter-words.ts";
import { Badge, type BadgeKind } from "#components/ui/badge.tsx";
import { formatDay, formatDuration, formatPercent } from "#components/ui/format.ts";
import { Panel } from "#components/ui/panel.tsx";
import { QueryBody } from "#components/ui/query-body.tsx";
import table from "#components/ui/table.module.css";
import type { Alert } from "#lib/alerts/schema.ts";
import { alertsApi } from "./alerts-api.ts";

const REFRESH_MS = 5_000;

/** Open alerts first, then past ones, newest first. */
export function AlertsPanel({ atMs }: { atMs: number }) {
  const query = useQuery({ queryKey: ["alerts"], queryFn: alertsApi.listAlerts, refetchInterval: REFRESH_MS });
  return (
    <Panel title="Alerts" note="open and past">
      <QueryBody query={query} empty="No limit has come near yet. An alert opens when a rule below holds.">
        {(alerts) => (
          <div className={table.scroll}>
            <table className={table.table}>
              <thead>
                <tr>
                  <th scope="col">State</th>
                  <th scope="col">Limit</th>
                  <th scope="col" className={table.wide}>
                    Rule
                  </th>
                  <th scope="col" className={table.number}>
                    Now or last
                  </th>
                  <th scope="col" className={`${table.number} ${table.wide}`}>
                    Peak
                  </th>
                  <th scope="col" className={`${table.wide} ${table.gap}`}>
                    Most used by
                  </th>
                  <th scope="col" className={`${table.number} ${table.wide} ${table.mid}`}>
                    Began, UTC
                  </th>
                  <th scope="col" className={`${table.number} ${table.wide}`}>
                    Lasted
                  </th>
                </tr>
              </thead>
              <tbody>
                {alerts.toSorted(byOpenThenNewest).map((alert) => (
                  <AlertRow key={alert.id} alert={alert} atMs={atMs} />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </QueryBody>
    </Panel>
  );
}

function AlertRow({ alert, atMs }: { alert: Alert; atMs: number }) {
  const began = Date.parse(alert.firedAt ?? alert.pendingSince);
  const ended = alert.resolvedAt ? Date.parse(alert.resolvedAt) : atMs;
  const top = alert.topAgents[0];
  return (
    <tr>
      <td>
        <Badge kind={badgeOf(alert)}>{alert.state}</Badge>
      </td>
      <td className={table.strong}>
        {alert.poolName} {LIMITER_WORDS[alert.limiter].phrase}
      </td>
      <td className={`${table.wide} ${table.muted} ${table.cut}`} title={alert.ruleName}>
        {alert.ruleName}
      </td>
      <td className={table.number}>{formatPercent(alert.utilisation)}</td>
      <td className={`${table.number} ${table.wide}`}>{formatPercent(alert.peakUtilisation)}</td>
      <td className={`${table.wide} ${table.gap}`}>
        {top ? `${top.agent}, ${formatPercent(top.share)}` : <span className={table.faint}>–</span>}
      </td>
      <td className={`${table.number} ${table.wide} ${table.mid} ${table.muted}`}>{formatDay(began)}</td>
      <td className={`${table.number} ${table.wide}`}>{formatDuration(ended - began)}</td>
    </tr>
  );
}

function badgeOf(alert: Alert): BadgeKind {
  if (alert.state === "firing") return alert.severity;
  return alert.state === "resolved" ? "ok" : "idle";
}

function byOpenThenNewest(a: Alert, b: Alert): number {
  const isPast = (alert: Alert) => (alert.state === "resolved" ? 1 : 0);
  return isPast(a) - isPast(b) || b.pendingSince.localeCompare(a.pendingSince);
}
