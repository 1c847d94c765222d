"use client";

import { useLive } from "#components/live/live-provider.tsx";
import { formatClock } from "#components/ui/format.ts";
import classes from "./live-badge.module.css";

/** Whether what is on screen is the present. */
export function LiveBadge() {
  const { status, paused, overview, clockSkewMs } = useLive();
  const live = overview?.hasCalls === false ? "listening" : "live";
  const look = status.kind === "blind" ? "blind" : paused ? "paused" : status.kind === "live" ? live : "connecting";
  return (
    <span className={classes.badge} data-look={look} role="status">
      <i aria-hidden />
      {look === "blind" && status.kind === "blind" && `Blind since ${formatClock(status.since + clockSkewMs)}`}
      {look === "paused" && "Paused"}
      {look === "connecting" && "Connecting"}
      {look === "listening" && "Listening"}
      {look === "live" && "Live"}
    </span>
  );
}
