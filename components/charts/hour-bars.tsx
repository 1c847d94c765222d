import classes from "./charts.module.css";

type HourBarsProps = {
  /** One entry for each hour begun since 00:00 UTC; the last is still filling. */
  values: readonly number[];
  describe: (value: number) => string;
};

/** The hours of a day as bars; the hour that is not over is outlined and pale. */
export function HourBars({ values, describe }: HourBarsProps) {
  const peak = Math.max(...values, 1);
  const hours = Array.from({ length: 24 }, (_, hour) => hour);
  return (
    <div>
      <ol className={classes.hours}>
        {hours.map((hour) => {
          const value = values[hour];
          const label = `${String(hour).padStart(2, "0")}:00`;
          return (
            <li key={hour} title={value === undefined ? undefined : `${label} UTC: ${describe(value)}`}>
              {value !== undefined && (
                <span
                  data-open={hour === values.length - 1 || undefined}
                  style={{ height: `${value > 0 ? Math.max(3, (value / peak) * 100) : 0}%` }}
                >
                  <span className={classes.hidden}>{`${label} ${describe(value)}`}</span>
                </span>
              )}
            </li>
          );
        })}
      </ol>
      <div className={classes.hourLabels} aria-hidden>
        {["00:00", "06:00", "12:00", "18:00", "24:00"].map((label) => (
          <span key={label}>{label}</span>
        ))}
      </div>
    </div>
  );
}
