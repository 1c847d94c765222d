"use client";

import { useMemo } from "react";
import { MiniChart } from "#components/charts/mini-chart.tsx";
import { chartPoints } from "#components/charts/sliding.ts";
import { formatPercent, formatShort, formatUsed } from "#components/ui/format.ts";
import { toneOf, toneText } from "#components/ui/tone.ts";
import type { Limiter } from "#lib/anthropic/pools.ts";
import type { LimiterState, PoolState } from "#lib/limits/schema.ts";
import type { SecondSeries } from "#lib/overview/schema.ts";
import classes from "./hero.module.css";
import { limiterSeries } from "./limiter-series.ts";
import { isConfirmed, LIMITER_WORDS } from "./limiter-words.ts";

type CompanionProps = {
  pool: PoolState;
  limiter: LimiterState;
  series: SecondSeries | undefined;
  fromSeconds: number;
  atSeconds: number;
  onChoose: (limiter: Limiter) => void;
};

/** A limiter of the same pool beside the chosen one; a click puts it in the large chart. */
export function Companion({ pool, limiter, series, fromSeconds, atSeconds, onChoose }: CompanionProps) {
  const points = useMemo(
    () => chartPoints(limiterSeries(pool, limiter.limiter, series).series, fromSeconds, atSeconds, 150),
    [pool, limiter.limiter, series, fromSeconds, atSeconds],
  );
  const words = LIMITER_WORDS[limiter.limiter];
  const tone = pool.state === "stale" ? "stale" : toneOf(limiter.utilisation);
  return (
    <button type="button" className={classes.companion} onClick={() => onChoose(limiter.limiter)}>
      <span className={classes.companionHead}>
        <span>{words.perMinute}</span>
        <span>
          {formatUsed(limiter.used)} / {formatShort(limiter.limit)}
        </span>
        <b style={{ color: toneText(tone) }}>{formatPercent(limiter.utilisation)}</b>
      </span>
      <MiniChart
        points={points}
        limit={limiter.limit}
        confirmed={isConfirmed(limiter)}
        from={fromSeconds * 1_000}
        to={atSeconds * 1_000}
        tone={tone}
        height={52}
      />
    </button>
  );
}
