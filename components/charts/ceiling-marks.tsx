import { CRITICAL_SHARE, toneColor, toneOf, WARNING_SHARE } from "#components/ui/tone.ts";
import type { Mark } from "./ceiling-chart.tsx";
import classes from "./charts.module.css";
import type { ChartPoint } from "./sliding.ts";

/** The newest seconds hold estimates of open streams. */
const ESTIMATED_MS = 5_000;
const MAX_MARKS = 4;
/** What the forecast's words need; with less room they stand before the now line. */
const BAND_WIDTH = 46;

type Frame = { limit: number; y: (value: number) => number; left: number; right: number; top: number };

/** What lies behind the use: hatching above the ceiling, and the thresholds with their names at the right. */
export function CeilingBack({ limit, y, left, right, top, id }: Frame & { id: string }) {
  const ceiling = y(limit);
  return (
    <g>
      <defs>
        <pattern id={`${id}hatch`} width={7} height={7} patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <line x1={0} y1={0} x2={0} y2={7} className={classes.hatch} />
        </pattern>
      </defs>
      <rect x={left} y={top} width={right - left} height={Math.max(0, ceiling - top)} fill={`url(#${id}hatch)`} />
      <text x={right + 6} y={ceiling - 1} className={classes.limitLabel}>
        limit
      </text>
      {[WARNING_SHARE, CRITICAL_SHARE].map((share) => (
        <g key={share}>
          <line
            x1={left}
            x2={right}
            y1={y(limit * share)}
            y2={y(limit * share)}
            stroke={toneColor(toneOf(share))}
            className={classes.threshold}
          />
          <text x={right + 6} y={y(limit * share) + (share === CRITICAL_SHARE ? 9 : 4)} className={classes.axisText}>
            {`${share * 100}\u202f%`}
          </text>
        </g>
      ))}
    </g>
  );
}

type FrontProps = Frame & {
  points: readonly ChartPoint[];
  now: number;
  forecast: { min: number; max: number; label: string } | null;
  marks: readonly Mark[];
  from: number;
  to: number;
  bottom: number;
  future: number;
};

/** What lies over the use: moments, the now line, the estimate's veil, the forecast and the gap before data began. */
export function CeilingFront(props: FrontProps) {
  const { points, limit, now, forecast, marks, y, from, to, left, right, top, bottom, future } = props;
  const x = (at: number) => left + ((at - from) / (to + future - from)) * (right - left);
  const nowX = x(to);
  const firstKnown = points.find((point) => point.total !== null)?.at ?? to;
  const last = points.at(-1);
  const drawn = last?.total ?? 0;
  const shown = marks.filter((mark) => mark.at > from && mark.at <= to).slice(-MAX_MARKS);
  const tone = toneColor(toneOf(limit > 0 ? now / limit : 0));
  return (
    <g>
      {firstKnown - from > 15_000 && (
        <g>
          <rect
            x={left}
            y={y(limit)}
            width={x(firstKnown) - left}
            height={bottom - y(limit)}
            className={classes.noData}
          />
          {x(firstKnown) - left > 60 && (
            <text x={(left + x(firstKnown)) / 2} y={bottom - 8} textAnchor="middle" className={classes.markText}>
              no data
            </text>
          )}
        </g>
      )}
      {shown.map((mark) => (
        <MarkLine key={`${mark.at}${mark.label}`} {...{ mark, x, top, bottom, left }} />
      ))}
      <rect
        x={x(to - ESTIMATED_MS)}
        y={y(drawn)}
        width={nowX - x(to - ESTIMATED_MS)}
        height={bottom - y(drawn)}
        className={classes.veil}
      />
      <line x1={nowX} x2={nowX} y1={top} y2={bottom} className={classes.now} />
      {now - drawn > limit * 0.02 && (
        <line x1={nowX} x2={nowX} y1={y(drawn)} y2={y(now)} stroke={tone} className={classes.unseen} />
      )}
      {forecast && limit > now && (
        <Wedge {...{ forecast, limit, now, y, nowX, right, tone, top }} perMs={(right - nowX) / future} />
      )}
      {last && <circle cx={nowX} cy={y(now)} r={4} fill={tone} className={classes.dot} />}
    </g>
  );
}

type WedgeProps = {
  forecast: { min: number; max: number; label: string };
  limit: number;
  now: number;
  y: (value: number) => number;
  nowX: number;
  right: number;
  tone: string;
  top: number;
  perMs: number;
};

/** From now to where the ceiling is met, soonest and latest; cut off where the future drawn ends. */
function Wedge({ forecast, limit, now, y, nowX, right, tone, top, perMs }: WedgeProps) {
  const end = (seconds: number) => {
    const x = nowX + seconds * 1_000 * perMs;
    if (x <= right) return `${x},${y(limit)}`;
    return `${right},${y(now + ((limit - now) * (right - nowX)) / (x - nowX))}`;
  };
  const corner = nowX + forecast.min * 1_000 * perMs <= right && nowX + forecast.max * 1_000 * perMs > right;
  return (
    <g>
      <polygon
        points={`${nowX},${y(now)} ${end(forecast.min)} ${corner ? `${right},${y(limit)} ` : ""}${end(forecast.max)}`}
        fill={tone}
        fillOpacity={0.4}
      />
      <text
        x={right - nowX < BAND_WIDTH ? nowX - 5 : nowX + 4}
        y={Math.max(top + 11, y(limit) - 7)}
        textAnchor={right - nowX < BAND_WIDTH ? "end" : "start"}
        className={classes.bandText}
      >
        {forecast.label}
      </text>
    </g>
  );
}

type MarkLineProps = { mark: Mark; x: (at: number) => number; top: number; bottom: number; left: number };

function MarkLine({ mark, x, top, bottom, left }: MarkLineProps) {
  const at = x(mark.at);
  const colour = `var(--hr-${mark.tone})`;
  const roomLeft = at - left > 80;
  return (
    <g>
      {mark.until && (
        <rect
          x={at}
          y={top}
          width={Math.max(0, x(mark.until) - at)}
          height={bottom - top}
          fill={colour}
          fillOpacity={0.1}
        />
      )}
      <line x1={at} x2={at} y1={top} y2={bottom} stroke={colour} strokeDasharray="3 3" />
      <text
        x={roomLeft ? at - 5 : at + 5}
        y={bottom - 34}
        textAnchor={roomLeft ? "end" : "start"}
        className={classes.markText}
      >
        {mark.label}
      </text>
    </g>
  );
}
