"use client";

import { memo, useId } from "react";
import { Area, AreaChart, CartesianGrid, ReferenceLine, Tooltip, XAxis, YAxis, ZIndexLayer } from "recharts";
import { formatClock, formatShort } from "#components/ui/format.ts";
import { CRITICAL_SHARE, WARNING_SHARE } from "#components/ui/tone.ts";
import { CeilingBack, CeilingFront } from "./ceiling-marks.tsx";
import { ChartTooltip } from "./chart-tooltip.tsx";
import classes from "./charts.module.css";
import { axisTicks, type ChartPoint, timeTicks } from "./sliding.ts";
import { useMeasuredWidth } from "./use-measured-width.ts";

export const FUTURE_MS = 100_000;
const MARGIN = { top: 4, right: 50, bottom: 0, left: 0 };
const Y_AXIS_WIDTH = 46;
const X_AXIS_HEIGHT = 24;

/** A moment worth a hairline; `until` makes it a tinted band. */
export type Mark = { at: number; until?: number; label: string; tone: "muted" | "warning" | "critical" };

export type CeilingChartProps = {
  points: readonly ChartPoint[];
  /** Names of the stacked parts, in their order, for the tooltip. */
  parts: readonly string[];
  /** What the parts are a share of: per minute. */
  limit: number;
  /** Dashed when nobody has confirmed the limit yet. */
  confirmed: boolean;
  /** The chart's span, epoch milliseconds; the future follows `to`. */
  from: number;
  to: number;
  /** Use now, which may lie above the line when others use the limit too. */
  now: number;
  forecast: { min: number; max: number; label: string } | null;
  marks: readonly Mark[];
  height: number;
  /** What a screen reader is told instead of the picture. */
  summary: string;
};

/** Use per minute under its limit: a heavy line with hatching above, and what is left as the white below it. */
export const CeilingChart = memo(function CeilingChart(props: CeilingChartProps) {
  const { points, parts, limit, confirmed, from, to, height, summary, now, forecast, marks } = props;
  const [attach, width] = useMeasuredWidth();
  const id = useId();
  const peak = points.reduce((most, point) => Math.max(most, point.total ?? 0), now);
  const top = Math.max(limit * 1.11, peak * 1.04, 1);
  const plotBottom = height - MARGIN.bottom - X_AXIS_HEIGHT;
  const y = (value: number) => plotBottom - (value / top) * (plotBottom - MARGIN.top);
  const ticks = timeTicks(from, to, to - from > 400_000 ? 180 : 60, ((to - from) / Math.max(1, width - 96)) * 42);
  return (
    <figure className={classes.figure} ref={attach} style={{ height }} aria-label={summary}>
      {width > 0 && (
        <AreaChart
          width={width}
          height={height}
          data={points as ChartPoint[]}
          margin={MARGIN}
          title={summary}
          className={classes.chart}
        >
          <defs>
            <ThresholdColours id={`${id}line`} limit={limit} y={y} opacity={1} />
            <ThresholdColours id={`${id}fill`} limit={limit} y={y} opacity={0.11} />
          </defs>
          <CeilingBack {...{ limit, y, left: Y_AXIS_WIDTH, right: width - MARGIN.right, top: MARGIN.top, id }} />
          <CartesianGrid vertical={false} stroke="var(--hr-line)" syncWithTicks />
          <XAxis
            dataKey="at"
            type="number"
            domain={[from, to + FUTURE_MS]}
            ticks={[...ticks, to]}
            tickFormatter={(at: number) => (at === to ? "now" : formatClock(at, false))}
            interval={0}
            allowDataOverflow
            height={X_AXIS_HEIGHT}
            tickLine={false}
            axisLine={false}
            tickMargin={6}
          />
          <YAxis
            domain={[0, top]}
            ticks={axisTicks(limit)}
            tickFormatter={formatShort}
            interval={0}
            allowDataOverflow
            width={Y_AXIS_WIDTH}
            tickLine={false}
            axisLine={false}
            tickMargin={4}
          />
          {parts.map((part, index) => (
            <Area
              key={part}
              dataKey={(point: ChartPoint) => point.parts?.[index] ?? null}
              name={part}
              stackId="parts"
              type="linear"
              stroke="none"
              fill={index === 0 ? `url(#${id}fill)` : "var(--hr-used)"}
              fillOpacity={index === 0 ? 1 : 0.2}
              activeDot={false}
              isAnimationActive={false}
            />
          ))}
          <Area
            dataKey="total"
            type="linear"
            fill="none"
            stroke={`url(#${id}line)`}
            strokeWidth={1.75}
            dot={false}
            activeDot={{ r: 3, strokeWidth: 0, fill: "var(--hr-text)" }}
            isAnimationActive={false}
          />
          <ReferenceLine
            y={limit}
            stroke="var(--hr-ceiling)"
            strokeWidth={2}
            strokeDasharray={confirmed ? undefined : "4 3"}
            zIndex={450}
          />
          <Tooltip
            content={<ChartTooltip parts={parts} limit={limit} />}
            cursor={{ stroke: "var(--hr-text)", strokeWidth: 1 }}
            isAnimationActive={false}
          />
          <ZIndexLayer zIndex={500}>
            <CeilingFront
              {...{ points, limit, now, forecast, marks, y, from, to, top: MARGIN.top, bottom: plotBottom }}
              left={Y_AXIS_WIDTH}
              right={width - MARGIN.right}
              future={FUTURE_MS}
            />
          </ZIndexLayer>
        </AreaChart>
      )}
    </figure>
  );
});

/** Three flat colours, changed where the thresholds lie: no blend between them. */
function ThresholdColours({
  id,
  limit,
  y,
  opacity,
}: {
  id: string;
  limit: number;
  y: (value: number) => number;
  opacity: number;
}) {
  const bottom = y(0);
  const stop = (share: number) => Math.min(1, Math.max(0, (bottom - y(limit * share)) / Math.max(1, bottom)));
  const steps = [
    [0, "used"],
    [stop(WARNING_SHARE), "used"],
    [stop(WARNING_SHARE), "warning"],
    [stop(CRITICAL_SHARE), "warning"],
    [stop(CRITICAL_SHARE), "critical"],
    [1, "critical"],
  ] as const;
  return (
    <linearGradient id={id} gradientUnits="userSpaceOnUse" x1={0} x2={0} y1={bottom} y2={0}>
      {steps.map(([offset, tone], index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a fixed list of six
        <stop key={index} offset={offset} stopColor={`var(--hr-${tone})`} stopOpacity={opacity} />
      ))}
    </linearGradient>
  );
}
