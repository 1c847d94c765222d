import { formatClock, formatCount, formatPercent } from "#components/ui/format.ts";
import classes from "./charts.module.css";
import type { ChartPoint } from "./sliding.ts";

type ChartTooltipProps = {
  parts: readonly string[];
  limit: number;
  active?: boolean;
  payload?: readonly { payload?: ChartPoint }[];
};

/** The exact values of one instant: the 60 seconds that ended with it. recharts hands in `active` and `payload`. */
export function ChartTooltip({ parts, limit, active, payload }: ChartTooltipProps) {
  const point = payload?.[0]?.payload;
  if (!active || !point) return null;
  return (
    <div className={classes.tooltip}>
      <p className={classes.tooltipHead}>
        {formatClock(point.at - 60_000)} – {formatClock(point.at)} <span>UTC</span>
      </p>
      {point.parts === null ? (
        <p>no data</p>
      ) : (
        <dl>
          {parts.length > 1 &&
            parts.map((part, index) => (
              <div key={part}>
                <dt>{part}</dt>
                <dd>{formatCount(point.parts[index] ?? 0)}</dd>
              </div>
            ))}
          <div>
            <dt>
              <b>{parts.length > 1 ? "Counted" : parts[0]}</b>
            </dt>
            <dd>
              <b>{formatCount(point.total)}</b>
            </dd>
          </div>
          <div>
            <dt>of the limit</dt>
            <dd>{limit > 0 ? formatPercent(point.total / limit) : "–"}</dd>
          </div>
        </dl>
      )}
    </div>
  );
}
