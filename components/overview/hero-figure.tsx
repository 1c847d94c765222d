import {
  formatBand,
  formatCount,
  formatDuration,
  formatPercent,
  formatUsed,
  percentOf,
} from "#components/ui/format.ts";
import { GaugeBar } from "#components/ui/gauge-bar.tsx";
import { Segments } from "#components/ui/segments.tsx";
import { toneColor, toneOf, toneText } from "#components/ui/tone.ts";
import type { Limiter } from "#lib/anthropic/pools.ts";
import type { Chosen } from "./choose-limiter.ts";
import classes from "./hero.module.css";
import { describeSource, isConfirmed, LIMITER_WORDS } from "./limiter-words.ts";

type HeroFigureProps = {
  chosen: Chosen;
  /** Chosen by itself, or picked by the reader. */
  automatic: boolean;
  atMs: number;
  onChoose: (limiter: Limiter) => void;
  onFollowTightest: () => void;
};

/** The number, the bar, the time that is left, and what it all rests on. */
export function HeroFigure({ chosen, automatic, atMs, onChoose, onFollowTightest }: HeroFigureProps) {
  const { pool, limiter } = chosen;
  const stale = pool.state === "stale";
  const tone = stale ? "stale" : toneOf(limiter.utilisation);
  const words = LIMITER_WORDS[limiter.limiter];
  const left = Math.max(0, limiter.limit - limiter.used);
  const unit = limiter.limiter === "requests" ? "" : "tokens";
  return (
    <div className={classes.figure}>
      <p className={classes.kicker}>
        {automatic ? "Tightest limit" : "Chosen limit"}
        {!automatic && (
          <button type="button" className={classes.follow} onClick={onFollowTightest}>
            show the tightest
          </button>
        )}
      </p>
      <h2 className={classes.name}>
        <span className={classes.family} style={{ background: `var(--hr-${pool.family})` }} aria-hidden />
        <span>
          {pool.name}
          {pool.lane !== "standard" && `, ${pool.lane}`} · {words.phrase}
        </span>
      </h2>
      <p className={classes.number} style={{ color: tone === "used" ? undefined : toneColor(tone) }}>
        {percentOf(limiter.utilisation)}
        <small>%</small>
      </p>
      <GaugeBar
        share={limiter.utilisation}
        tone={tone}
        look={stale ? "stale" : "plain"}
        dashedCeiling={!isConfirmed(limiter)}
        tall
      />
      <p className={classes.forecast} style={{ color: toneText(tone) }}>
        {forecastText(chosen, atMs)}
      </p>
      <p className={classes.rate}>{rateText(chosen, left, unit)}</p>
      <Segments
        label="Limiter shown"
        className={classes.pick}
        fullWidth
        data={pool.limiters.map((entry) => ({ value: entry.limiter, label: LIMITER_WORDS[entry.limiter].short }))}
        value={limiter.limiter}
        onChange={onChoose}
      />
      <dl className={classes.facts}>
        <Fact name="Used">{formatCount(limiter.used)}</Fact>
        <Fact name="Left" strong>
          {formatCount(left)}
        </Fact>
        <Fact name="Limit per minute">{formatCount(limiter.limit)}</Fact>
        <Fact name="Source">{describeSource(limiter, atMs)}</Fact>
      </dl>
    </div>
  );
}

function Fact({ name, strong, children }: { name: string; strong?: boolean; children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{strong ? <b>{children}</b> : children}</dd>
    </div>
  );
}

export function forecastText({ pool, limiter }: Chosen, atMs: number): string {
  if (pool.state === "unseen") return "not called yet";
  if (pool.state === "stale" && limiter.observedAt) return `last known, ${describeSource(limiter, atMs)}`;
  if (limiter.utilisation >= 1) return "at the limit";
  if (!limiter.secondsToLimit) {
    // Below a second or so the bucket is full for every practical purpose.
    const full = limiter.secondsToFull ?? 0;
    return full >= 1.5 ? `full again in ${formatDuration(full * 1_000)}` : "not approaching";
  }
  return `limit in ${formatBand(limiter.secondsToLimit.min, limiter.secondsToLimit.max)}`;
}

/** Growth of use, told in the middle of the band; where nothing grows, when the bucket would be full again. */
function rateText({ pool, limiter }: Chosen, left: number, unit: string): string {
  if (pool.state !== "live") return "";
  if (limiter.secondsToLimit && limiter.utilisation < 1) {
    const seconds = Math.max(1, (limiter.secondsToLimit.min + limiter.secondsToLimit.max) / 2);
    const perSecond = left / seconds;
    const rate = perSecond < 10 ? perSecond.toFixed(1) : formatUsed(Number(perSecond.toPrecision(2)));
    return `filling by about ${rate}${unit ? ` ${unit}` : ""}/s net of refill`;
  }
  return `${formatPercent(Math.max(0, 1 - limiter.utilisation))} of the minute's room is free`;
}
