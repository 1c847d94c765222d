"use client";

import { useMemo } from "react";
import { chartPoints } from "#components/charts/sliding.ts";
import { Sparkline } from "#components/charts/sparkline.tsx";
import { formatCount, formatDuration, formatShort, formatUsed, percentOf } from "#components/ui/format.ts";
import { GaugeBar } from "#components/ui/gauge-bar.tsx";
import { toneOf, toneText } from "#components/ui/tone.ts";
import type { LimiterState, PoolState } from "#lib/limits/schema.ts";
import type { SecondSeries } from "#lib/overview/schema.ts";
import { forecastText } from "./hero-figure.tsx";
import { limiterSeries } from "./limiter-series.ts";
import { isConfirmed } from "./limiter-words.ts";
import classes from "./limits-matrix.module.css";

const SPARK_SECONDS = 300;

type LimiterGaugeProps = {
  pool: PoolState;
  limiter: LimiterState;
  title: string;
  series: SecondSeries | undefined;
  atMs: number;
  isChosen: boolean;
  onChoose: () => void;
};

/** One limiter of one pool; a click shows it large. */
export function LimiterGauge({ pool, limiter, title, series, atMs, isChosen, onChoose }: LimiterGaugeProps) {
  const atSeconds = Math.floor(atMs / 1_000);
  const shares = useMemo(() => {
    if (pool.state === "unseen" || limiter.limit <= 0) return null;
    const points = chartPoints(
      limiterSeries(pool, limiter.limiter, series).series,
      atSeconds - SPARK_SECONDS,
      atSeconds,
      61,
    );
    return points.map((point) => (point.total === null ? null : point.total / limiter.limit));
  }, [pool, limiter, series, atSeconds]);
  const look = pool.state === "stale" ? "stale" : pool.state === "live" ? "plain" : "idle";
  const tone = look === "stale" ? "stale" : toneOf(limiter.utilisation);
  const left = Math.max(0, limiter.limit - limiter.used);
  const color = look === "plain" ? toneText(tone) : "var(--hr-muted)";
  return (
    <button
      type="button"
      className={classes.gauge}
      aria-pressed={isChosen}
      title={describe(limiter)}
      onClick={onChoose}
    >
      <span className={classes.gaugePool}>{pool.name} </span>
      <span className={classes.gaugeName}>{title} </span>
      <span className={classes.percent} style={{ color }}>
        {percentOf(limiter.utilisation)} <small>%</small>
      </span>
      <span className={classes.amount}>
        {formatUsed(limiter.used)} / {formatShort(limiter.limit)}
      </span>
      {shares && (
        <span className={classes.spark}>
          <Sparkline shares={shares} tone={tone} />
        </span>
      )}
      <span className={classes.bar}>
        <GaugeBar share={limiter.utilisation} tone={tone} look={look} dashedCeiling={!isConfirmed(limiter)} />
      </span>
      <span
        className={classes.foot}
        data-strong={(pool.state === "live" && limiter.secondsToLimit !== null) || undefined}
        style={{ color: tone === "stale" || tone === "used" ? undefined : color }}
      >
        {footText(pool, limiter, atMs)}
      </span>
      <span className={classes.left}>{formatShort(left)} left</span>
    </button>
  );
}

function footText(pool: PoolState, limiter: LimiterState, atMs: number): string {
  if (pool.state === "idle" && pool.lastCallAt)
    return `no calls in ${formatDuration(atMs - Date.parse(pool.lastCallAt))}`;
  if (pool.state === "stale" && limiter.observedAt) {
    return `last known, ${formatDuration(atMs - Date.parse(limiter.observedAt))} ago`;
  }
  return forecastText({ pool, limiter }, atMs);
}

/** Both measures: the bucket's level and the use of the last minute differ, and the tighter one is drawn. */
function describe(limiter: LimiterState): string {
  const minute = `${formatCount(limiter.usedLastMinute)} used through Headroom in the last 60 s`;
  if (limiter.remaining === null) return minute;
  return `${minute}; bucket holds ${formatCount(limiter.remaining)} of ${formatCount(limiter.limit)}`;
}
