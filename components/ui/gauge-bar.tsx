import classes from "./gauge-bar.module.css";
import { CRITICAL_SHARE, type Tone, WARNING_SHARE } from "./tone.ts";

type GaugeBarProps = {
  /** 0.8 is 80 %; more than 1 fills the bar. */
  share: number;
  tone: Tone;
  /** dashed: the ceiling is not confirmed. stale: the value is old. idle: nothing is used. */
  look?: "plain" | "stale" | "idle";
  dashedCeiling?: boolean;
  tall?: boolean;
};

/** Used part, empty headroom and the ceiling at its right end. What it shows stands beside it in words. */
export function GaugeBar({ share, tone, look = "plain", dashedCeiling = false, tall = false }: GaugeBarProps) {
  return (
    <div className={classes.gauge} data-look={look} data-tall={tall || undefined} aria-hidden>
      <div className={classes.track}>
        <div
          className={classes.fill}
          data-tone={look === "stale" ? "stale" : tone}
          style={{ transform: `scaleX(${Math.min(1, Math.max(0, share))})` }}
        />
      </div>
      {look !== "idle" &&
        [WARNING_SHARE, CRITICAL_SHARE].map((at) => (
          <span key={at} className={classes.notch} style={{ left: `${at * 100}%` }} />
        ))}
      <span className={classes.ceiling} data-dashed={dashedCeiling || undefined} />
    </div>
  );
}
