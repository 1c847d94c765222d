import classes from "./share-bar.module.css";
import type { Tone } from "./tone.ts";

/** A thin bar for ranking. `outside` is hatched: what was not seen but only inferred. */
export function ShareBar({ share, tone }: { share: number; tone: Tone | "outside" }) {
  return (
    <div className={classes.track} aria-hidden>
      <div
        className={classes.fill}
        data-tone={tone}
        style={{ width: `${Math.min(1, Math.max(share > 0 ? 0.01 : 0, share)) * 100}%` }}
      />
    </div>
  );
}
