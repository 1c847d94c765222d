"use client";

import { useId } from "react";
import { formatShort } from "#components/ui/format.ts";
import { FUTURE_MS } from "./ceiling-chart.tsx";
import classes from "./charts.module.css";
import { areaPath, linePath } from "./paths.ts";
import type { ChartPoint } from "./sliding.ts";
import { useMeasuredWidth } from "./use-measured-width.ts";

const LEFT = 46;
const RIGHT = 50;

type FreeStripProps = { points: readonly ChartPoint[]; from: number; to: number; height: number; summary: string };

/** What is not measured against the limit, under the chart that is: the same times, a scale of its own, hatched. */
export function FreeStrip({ points, from, to, height, summary }: FreeStripProps) {
  const [attach, width] = useMeasuredWidth();
  const id = useId();
  const peak = Math.max(...points.map((point) => point.total ?? 0), 1);
  const scale = (width - LEFT - RIGHT) / (to + FUTURE_MS - from);
  const places = points.map((point) =>
    point.total === null
      ? null
      : { x: LEFT + (point.at - from) * scale, y: height - 1 - (point.total / peak) * (height - 6) },
  );
  return (
    <figure className={classes.figure} ref={attach} style={{ height }} aria-label={summary}>
      {width > 0 && (
        <svg width={width} height={height} aria-hidden>
          <defs>
            <pattern id={id} width={5} height={5} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <line x1={0} y1={0} x2={0} y2={5} className={classes.freeHatch} />
            </pattern>
          </defs>
          <text x={LEFT - 8} y={13} textAnchor="end" className={classes.axisText}>
            {formatShort(peak)}
          </text>
          <path d={areaPath(places, height - 1)} fill={`url(#${id})`} />
          <path d={linePath(places)} className={classes.freeLine} />
        </svg>
      )}
    </figure>
  );
}
