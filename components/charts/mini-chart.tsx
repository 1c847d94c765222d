"use client";

import { useId } from "react";
import { type Tone, toneColor } from "#components/ui/tone.ts";
import classes from "./charts.module.css";
import { areaPath, linePath } from "./paths.ts";
import type { ChartPoint } from "./sliding.ts";
import { useMeasuredWidth } from "./use-measured-width.ts";

type MiniChartProps = {
  points: readonly ChartPoint[];
  limit: number;
  confirmed: boolean;
  from: number;
  to: number;
  tone: Tone;
  height: number;
};

/** The small sibling of the ceiling chart: line, fill, ceiling, hatching. Its words stand beside it. */
export function MiniChart({ points, limit, confirmed, from, to, tone, height }: MiniChartProps) {
  const [attach, width] = useMeasuredWidth();
  const id = useId();
  const top = Math.max(limit * 1.14, ...points.map((point) => point.total ?? 0), 1);
  const end = width - 5;
  const y = (value: number) => height - 1 - (value / top) * (height - 1);
  const places = points.map((point) =>
    point.total === null ? null : { x: ((point.at - from) / (to - from)) * end, y: y(point.total) },
  );
  const last = places.at(-1);
  return (
    <div ref={attach} style={{ height }} aria-hidden>
      {width > 0 && (
        <svg width={width} height={height} className={classes.mini} aria-hidden>
          <defs>
            <pattern id={id} width={6} height={6} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
              <line x1={0} y1={0} x2={0} y2={6} className={classes.hatch} />
            </pattern>
          </defs>
          <rect x={0} y={0} width={width} height={Math.max(0, y(limit))} fill={`url(#${id})`} />
          <path d={areaPath(places, y(0))} fill={toneColor(tone)} fillOpacity={0.11} />
          <path d={linePath(places)} stroke={toneColor(tone)} className={classes.miniLine} />
          <line x1={0} x2={width} y1={y(0)} y2={y(0)} className={classes.base} />
          <line
            x1={0}
            x2={width}
            y1={y(limit)}
            y2={y(limit)}
            className={classes.miniCeiling}
            strokeDasharray={confirmed ? undefined : "4 3"}
          />
          {last && <circle cx={last.x} cy={last.y} r={2.5} fill={toneColor(tone)} />}
        </svg>
      )}
    </div>
  );
}
