"use client";

import { useRef } from "react";
import { ReconciliationPanel } from "#components/reconciliation/reconciliation-panel.tsx";
import type { Overview } from "#lib/overview/schema.ts";
import { AgentsPanel } from "./agents-panel.tsx";
import { AlertStrip } from "./alert-strip.tsx";
import { CallsPanel } from "./calls-panel.tsx";
import { findLimiter, findTightest, type LimiterRef } from "./choose-limiter.ts";
import { CostPanel } from "./cost-panel.tsx";
import { HeroPanel } from "./hero-panel.tsx";
import { LimitsMatrix } from "./limits-matrix.tsx";
import classes from "./overview-view.module.css";
import { QueuePanel } from "./queue-panel.tsx";
import { RefusalsPanel } from "./refusals-panel.tsx";

type OverviewViewProps = {
  overview: Overview;
  rangeSeconds: number;
  /** What the reader picked; null follows the tightest limit. */
  picked: LimiterRef | null;
  onPick: (ref: LimiterRef | null) => void;
};

/** How close, how long, who; then every limit, the calls, the refusals and the cost. */
export function OverviewView({ overview, rangeSeconds, picked, onPick }: OverviewViewProps) {
  const held = useRef<LimiterRef | null>(null);
  const found = findLimiter(overview.pools, picked);
  const chosen = found ?? findTightest(overview.pools, held.current);
  if (chosen) held.current = { pool: chosen.pool.key, limiter: chosen.limiter.limiter };
  const atMs = Date.parse(overview.at);
  return (
    <div className={classes.view}>
      <AlertStrip alerts={overview.alerts} pools={overview.pools} atMs={atMs} />
      {chosen && (
        <>
          <HeroPanel
            overview={overview}
            chosen={chosen}
            automatic={found === null}
            rangeSeconds={rangeSeconds}
            onChoose={(limiter) => onPick({ pool: chosen.pool.key, limiter })}
            onFollowTightest={() => onPick(null)}
          />
          <LimitsMatrix overview={overview} chosen={chosen} onChoose={onPick} />
        </>
      )}
      <div className={classes.row}>
        <QueuePanel queue={overview.queue} />
        <RefusalsPanel refusals={overview.refusals} />
        <CostPanel cost={overview.cost} />
      </div>
      {chosen && <AgentsPanel agents={overview.agents} chosen={chosen} />}
      <ReconciliationPanel atMs={atMs} />
      <CallsPanel calls={overview.calls} />
    </div>
  );
}
