import classes from "./charts.module.css";

const WIDTH = 120;
const HEIGHT = 16;

/** One thin mark for each minute in which something happened; the line is the hour. */
export function MinuteTicks({ minutes }: { minutes: readonly number[] }) {
  const peak = Math.max(...minutes, 1);
  const step = WIDTH / Math.max(1, minutes.length);
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" className={classes.ticks} aria-hidden>
      <line x1={0} x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} className={classes.base} />
      {minutes.map((count, minute) => {
        const height = count > 0 ? 4 + (count / peak) * (HEIGHT - 5) : 0;
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: a minute's place is what it is
          <rect key={minute} x={minute * step} width={Math.max(1.2, step - 0.6)} y={HEIGHT - height} height={height} />
        );
      })}
    </svg>
  );
}
