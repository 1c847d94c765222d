"use client";

import { useEffect, useState } from "react";
import { useLive } from "#components/live/live-provider.tsx";
import { formatClock } from "#components/ui/format.ts";
import classes from "./clock.module.css";

/** The gateway's time of day. Until the browser has taken over, the time the page was made. */
export function Clock() {
  const { overview, clockSkewMs } = useLive();
  const [nowMs, setNowMs] = useState<number | null>(null);
  useEffect(() => {
    const tick = () => setNowMs(Date.now() + clockSkewMs);
    tick();
    const timer = setInterval(tick, 1_000);
    return () => clearInterval(timer);
  }, [clockSkewMs]);
  const shown = nowMs ?? (overview ? Date.parse(overview.at) : null);
  if (shown === null) return null;
  return (
    <time className={classes.clock} dateTime={new Date(shown).toISOString()}>
      {formatClock(shown)} UTC
    </time>
  );
}
