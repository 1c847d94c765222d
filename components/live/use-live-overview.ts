"use client";

import { useCallback, useEffect, useRef, useState } from "react";
import type { Overview } from "#lib/overview/schema.ts";
import { LiveConnection, type LiveStatus } from "./live-connection.ts";
import { mergeOverview } from "./merge-overview.ts";

export type Live = {
  /** What is drawn; null until the first event when the page came without one. Stands still while paused. */
  overview: Overview | null;
  status: LiveStatus;
  paused: boolean;
  togglePause(): void;
  /** The gateway's clock less this machine's, in milliseconds. */
  clockSkewMs: number;
};

/**
 * The overview, new once a second. While the tab is hidden the line is closed; while paused events are still taken in, so
 * that going on shows the present with nothing missing.
 */
export function useLiveOverview(first: Overview | null): Live {
  const newest = useRef(first);
  const pausedRef = useRef(false);
  const [overview, setOverview] = useState(first);
  const [status, setStatus] = useState<LiveStatus>({ kind: "connecting" });
  const [paused, setPaused] = useState(false);
  const [clockSkewMs, setClockSkewMs] = useState(0);

  useEffect(() => {
    const connection = new LiveConnection("/api/live", {
      onEvent(event) {
        newest.current = mergeOverview(newest.current, event);
        if (pausedRef.current) return;
        setOverview(newest.current);
        // Only a change that a reader of a clock would notice: the way of an event takes a few milliseconds.
        const skew = Date.parse(event.at) - Date.now();
        setClockSkewMs((known) => (Math.abs(known - skew) > 500 ? skew : known));
      },
      onStatus: (next) => setStatus((known) => (isSame(known, next) ? known : next)),
    });
    const follow = () => (document.hidden ? connection.close() : connection.open());
    follow();
    document.addEventListener("visibilitychange", follow);
    return () => {
      document.removeEventListener("visibilitychange", follow);
      connection.close();
    };
  }, []);

  const togglePause = useCallback(() => {
    pausedRef.current = !pausedRef.current;
    setPaused(pausedRef.current);
    if (!pausedRef.current) setOverview(newest.current);
  }, []);

  return { overview, status, paused, togglePause, clockSkewMs };
}

function isSame(a: LiveStatus, b: LiveStatus): boolean {
  return a.kind === b.kind && (a.kind !== "blind" || b.kind !== "blind" || a.since === b.since);
}
