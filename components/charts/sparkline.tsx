import { type Tone, toneColor } from "#components/ui/tone.ts";
import { linePath } from "./paths.ts";
import classes from "./sparkline.module.css";

const WIDTH = 84;
const HEIGHT = 22;
const TOP = 3;
/** Room for the dot at the end. */
const END = WIDTH - 3;

type SparklineProps = {
  /** Shares of the limit, oldest first; null where nothing was measured. */
  shares: readonly (number | null)[];
  tone: Tone;
};

/** Five minutes against their own limit: the upper line is the ceiling. Says nothing to a screen reader. */
export function Sparkline({ shares, tone }: SparklineProps) {
  const place = (share: number, index: number) => ({
    x: (index / Math.max(1, shares.length - 1)) * END,
    y: HEIGHT - 2 - Math.min(1.05, share) * (HEIGHT - 2 - TOP),
  });
  const places = shares.map((share, index) => (share === null ? null : place(share, index)));
  const last = places.at(-1);
  return (
    <svg className={classes.sparkline} width={WIDTH} height={HEIGHT} aria-hidden>
      <line x1={0} x2={WIDTH} y1={TOP - 0.5} y2={TOP - 0.5} className={classes.ceiling} />
      <path d={linePath(places)} className={classes.line} />
      {last && <circle cx={last.x} cy={last.y} r={2} fill={toneColor(tone)} />}
    </svg>
  );
}
