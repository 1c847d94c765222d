import { IconArrowRight } from "@tabler/icons-react";
import Link from "next/link";
import { Badge } from "#components/ui/badge.tsx";
import { formatBand, formatDuration, formatPercent } from "#components/ui/format.ts";
import { Strip } from "#components/ui/strip.tsx";
import type { Alert } from "#lib/alerts/schema.ts";
import type { PoolState } from "#lib/limits/schema.ts";
import classes from "./alert-strip.module.css";
import { findLimiter } from "./choose-limiter.ts";
import { LIMITER_WORDS } from "./limiter-words.ts";

const ORDER = { firing: 0, pending: 1, recovering: 2, resolved: 3 } as const;

/** The gravest open alert in one sentence, and how many more there are. */
export function AlertStrip({
  alerts,
  pools,
  atMs,
}: {
  alerts: readonly Alert[];
  pools: readonly PoolState[];
  atMs: number;
}) {
  const [first, ...more] = alerts.toSorted(
    (a, b) => ORDER[a.state] - ORDER[b.state] || (a.severity === b.severity ? 0 : a.severity === "critical" ? -1 : 1),
  );
  if (!first) return null;
  const kind = first.severity === "critical" && first.state === "firing" ? "critical" : "warning";
  return (
    <Strip kind={kind}>
      <Badge kind={first.state === "firing" ? kind : "idle"}>{badgeWord(first)}</Badge>
      <strong className={classes.what}>
        {first.poolName} {LIMITER_WORDS[first.limiter].phrase} at {formatPercent(first.utilisation)}
      </strong>
      <span className={classes.detail}>{sentence(first, pools, atMs)}</span>
      <Link href="/alerts" className={classes.open}>
        {more.length > 0 ? `${more.length} more` : "Open"} <IconArrowRight size={14} aria-hidden />
      </Link>
    </Strip>
  );
}

function badgeWord(alert: Alert): string {
  if (alert.state === "pending") return "Pending";
  if (alert.state === "recovering") return "Recovering";
  return alert.severity === "critical" ? "Critical" : "Warning";
}

function sentence(alert: Alert, pools: readonly PoolState[], atMs: number): string {
  const poolKey = `${alert.upstream}/${alert.pool}/${alert.lane}`;
  const band = findLimiter(pools, { pool: poolKey, limiter: alert.limiter })?.limiter.secondsToLimit;
  const top = alert.topAgents[0];
  const since = {
    pending: alert.pendingSince,
    firing: alert.firedAt,
    recovering: alert.recoveringSince,
    resolved: null,
  };
  const start = since[alert.state];
  return [
    band && `limit in about ${formatBand(band.min, band.max)}`,
    top && `${top.agent} took ${formatPercent(top.share)} of the last minute`,
    start && `${alert.state} for ${formatDuration(atMs - Date.parse(start))}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
