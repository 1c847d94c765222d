"use client";

import { useMemo } from "react";
import { CeilingChart, type Mark } from "#components/charts/ceiling-chart.tsx";
import { FreeStrip } from "#components/charts/free-strip.tsx";
import { chartPoints } from "#components/charts/sliding.ts";
import { formatBand, formatCount, formatPercent } from "#components/ui/format.ts";
import type { Limiter } from "#lib/anthropic/pools.ts";
import type { Overview } from "#lib/overview/schema.ts";
import type { Chosen } from "./choose-limiter.ts";
import { Companion } from "./companion.tsx";
import classes from "./hero.module.css";
import { freeSeries, limiterSeries } from "./limiter-series.ts";
import { isConfirmed, LIMITER_WORDS } from "./limiter-words.ts";

type HeroChartProps = {
  overview: Overview;
  chosen: Chosen;
  rangeSeconds: number;
  onChoose: (limiter: Limiter) => void;
};

const PLOT_HEIGHT = 228;
const STRIP_HEIGHT = 58;

/** The chosen limiter large, its free cache reads below, and the pool's other limiters small. */
export function HeroChart({ overview, chosen, rangeSeconds, onChoose }: HeroChartProps) {
  const { pool, limiter } = chosen;
  const atSeconds = Math.floor(Date.parse(overview.at) / 1_000);
  const fromSeconds = atSeconds - rangeSeconds;
  const series = overview.series[pool.key];
  const words = LIMITER_WORDS[limiter.limiter];
  const { parts, points } = useMemo(() => {
    const counted = limiterSeries(pool, limiter.limiter, series);
    return { parts: counted.parts, points: chartPoints(counted.series, fromSeconds, atSeconds) };
  }, [pool, limiter.limiter, series, fromSeconds, atSeconds]);
  const freePoints = useMemo(() => {
    const free = freeSeries(pool, limiter.limiter, series);
    return free && chartPoints([free], fromSeconds, atSeconds);
  }, [pool, limiter.limiter, series, fromSeconds, atSeconds]);
  const forecast = useForecast(chosen);
  const marks = useMemo(() => alertMarks(overview.alerts, chosen), [overview.alerts, chosen]);
  const span = { from: fromSeconds * 1_000, to: atSeconds * 1_000 };
  const free = freePoints?.some((point) => (point.total ?? 0) > 0) ? freePoints : null;
  return (
    <div className={classes.chart}>
      <div className={classes.chartHead}>
        <h2>{words.perMinute}</h2>
        <Legend parts={parts} hasForecast={forecast !== null} />
      </div>
      <CeilingChart
        points={points}
        parts={parts}
        limit={limiter.limit}
        confirmed={isConfirmed(limiter)}
        {...span}
        now={limiter.used}
        forecast={forecast}
        marks={marks}
        height={PLOT_HEIGHT + (free ? 0 : STRIP_HEIGHT)}
        summary={`${pool.name} ${words.phrase} at ${formatPercent(limiter.utilisation)} of ${formatCount(limiter.limit)} per minute`}
      />
      {free && (
        <div className={classes.free}>
          <p>
            <b>Cache reads</b> free, not counted · {formatPercent(freeShare(overview, chosen))} of all input
          </p>
          <FreeStrip points={free} {...span} height={STRIP_HEIGHT - 20} summary="Cache reads per minute, free" />
        </div>
      )}
      <div className={classes.companions}>
        {pool.limiters
          .filter((entry) => entry.limiter !== limiter.limiter)
          .map((entry) => (
            <Companion
              key={entry.limiter}
              {...{ pool, series, fromSeconds, atSeconds }}
              limiter={entry}
              onChoose={onChoose}
            />
          ))}
      </div>
    </div>
  );
}

function Legend({ parts, hasForecast }: { parts: readonly string[]; hasForecast: boolean }) {
  return (
    <ul className={classes.legend}>
      <li>
        <i data-mark="line" /> used
      </li>
      {parts.slice(1).map((part) => (
        <li key={part}>
          <i data-mark="part" /> of it {part}
        </li>
      ))}
      {hasForecast && (
        <li>
          <i data-mark="wedge" /> forecast
        </li>
      )}
    </ul>
  );
}

function useForecast({ pool, limiter }: Chosen) {
  const min = limiter.secondsToLimit?.min;
  const max = limiter.secondsToLimit?.max;
  const known = pool.state === "live" && limiter.utilisation < 1;
  return useMemo(
    () => (known && min !== undefined && max !== undefined ? { min, max, label: formatBand(min, max) } : null),
    [known, min, max],
  );
}

function alertMarks(alerts: Overview["alerts"], { pool, limiter }: Chosen): Mark[] {
  return alerts
    .filter(
      (alert) => `${alert.upstream}/${alert.pool}/${alert.lane}` === pool.key && alert.limiter === limiter.limiter,
    )
    .map((alert) => ({
      at: Date.parse(alert.firedAt ?? alert.pendingSince),
      label: alert.firedAt ? "fires" : `${formatPercent(alert.threshold)} crossed`,
      tone: alert.severity,
    }));
}

/** Of the input of the last 60 s, how much was read from cache. */
function freeShare(overview: Overview, { pool }: Chosen): number {
  const series = overview.series[pool.key];
  if (!series) return 0;
  const sum = (values: readonly number[]) => values.slice(-60).reduce((total, value) => total + value, 0);
  const read = sum(series.cacheRead);
  const all = read + sum(series.input) + sum(series.cacheWrite);
  return all > 0 ? read / all : 0;
}
