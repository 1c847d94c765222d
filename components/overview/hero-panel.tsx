"use client";

import type { Limiter } from "#lib/anthropic/pools.ts";
import type { Overview } from "#lib/overview/schema.ts";
import type { Chosen } from "./choose-limiter.ts";
import classes from "./hero.module.css";
import { HeroChart } from "./hero-chart.tsx";
import { HeroFigure } from "./hero-figure.tsx";
import { WhoUsesIt } from "./who-uses-it.tsx";

type HeroPanelProps = {
  overview: Overview;
  chosen: Chosen;
  automatic: boolean;
  rangeSeconds: number;
  onChoose: (limiter: Limiter) => void;
  onFollowTightest: () => void;
};

/** How close, how long, who: the three questions in one panel. */
export function HeroPanel({ overview, chosen, automatic, rangeSeconds, onChoose, onFollowTightest }: HeroPanelProps) {
  return (
    <section className={classes.hero} aria-label="Tightest limit">
      <HeroFigure {...{ chosen, automatic, onChoose, onFollowTightest }} atMs={Date.parse(overview.at)} />
      <HeroChart {...{ overview, chosen, rangeSeconds, onChoose }} />
      <WhoUsesIt chosen={chosen} agents={overview.agents} />
    </section>
  );
}
