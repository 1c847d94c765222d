"use client";

import { useEffect, useState } from "react";
import { useLive } from "#components/live/live-provider.tsx";
import { Badge } from "#components/ui/badge.tsx";
import { formatClock, formatCount } from "#components/ui/format.ts";
import { Strip } from "#components/ui/strip.tsx";
import classes from "./blind-strip.module.css";

const BLIND_AFTER_MS = 60_000;

/** Faults of Headroom itself, above all else: what, since when, and what still works. */
export function BlindStrip() {
  const { status, overview, clockSkewMs } = useLive();
  const since = status.kind === "blind" ? status.since : null;
  const [isLong, setIsLong] = useState(false);
  useEffect(() => {
    setIsLong(false);
    if (since === null) return;
    const timer = setTimeout(() => setIsLong(true), Math.max(0, since + BLIND_AFTER_MS - Date.now()));
    return () => clearTimeout(timer);
  }, [since]);
  const gateway = overview?.gateway;
  return (
    <div className={classes.strips} role="alert">
      {since !== null && isLong && (
        <Strip kind="critical">
          <Badge kind="critical">Blind</Badge>
          <b>This page has heard nothing since {formatClock(since + clockSkewMs)} UTC.</b>
          <span>The figures below are from then. It keeps trying; look whether Headroom is running.</span>
        </Strip>
      )}
      {gateway?.recordingFault && (
        <Strip kind="critical">
          <Badge kind="critical">Recording fails</Badge>
          <b>{gateway.recordingFault}</b>
          <span>Calls still flow, but those that end now may be missing from the records.</span>
        </Strip>
      )}
      {gateway && !gateway.databaseReachable && (
        <Strip kind="critical">
          <Badge kind="critical">Database unreachable</Badge>
          <b>Calls flow, recording is spooled.</b>
          <span>
            {formatCount(gateway.spoolRows)} {gateway.spoolRows === 1 ? "call waits" : "calls wait"} on disk and{" "}
            {gateway.spoolRows === 1 ? "is" : "are"} stored when the database is back. Live figures are complete.
          </span>
        </Strip>
      )}
    </div>
  );
}
