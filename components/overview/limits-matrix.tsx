"use client";

import { useState } from "react";
import { Badge } from "#components/ui/badge.tsx";
import { formatPercent, formatShort } from "#components/ui/format.ts";
import type { PoolState } from "#lib/limits/schema.ts";
import type { Overview } from "#lib/overview/schema.ts";
import { type Chosen, isSameLimiter, type LimiterRef } from "./choose-limiter.ts";
import { LimiterGauge } from "./limiter-gauge.tsx";
import { describeSource } from "./limiter-words.ts";
import classes from "./limits-matrix.module.css";

const COLUMNS = [
  { limiter: "requests", title: "Requests", note: "RPM" },
  { limiter: "input_tokens", title: "Input tokens", note: "ITPM, counted" },
  { limiter: "output_tokens", title: "Output tokens", note: "OTPM" },
] as const;

type LimitsMatrixProps = { overview: Overview; chosen: Chosen; onChoose: (ref: LimiterRef) => void };

/** Every pool against its three limits. Pools that nobody ever called stay folded away. */
export function LimitsMatrix({ overview, chosen, onChoose }: LimitsMatrixProps) {
  const [showsUnseen, setShowsUnseen] = useState(false);
  const seen = overview.pools.filter((pool) => pool.state !== "unseen");
  const unseen = overview.pools.filter((pool) => pool.state === "unseen");
  const shown = showsUnseen || seen.length === 0 ? [...seen, ...unseen] : seen;
  const chosenRef = { pool: chosen.pool.key, limiter: chosen.limiter.limiter };
  return (
    <section className={classes.matrix} aria-label="Limits">
      <div className={classes.head}>
        <h2>Limits</h2>
        {COLUMNS.map((column) => (
          <p key={column.limiter}>
            {column.title} <span>{column.note}</span>
          </p>
        ))}
      </div>
      {shown.map((pool) => (
        <PoolRow key={pool.key} {...{ pool, overview, chosenRef, onChoose }} />
      ))}
      {seen.length > 0 && unseen.length > 0 && (
        <button type="button" className={classes.more} onClick={() => setShowsUnseen(!showsUnseen)}>
          {showsUnseen ? "Hide" : "Show"} {unseen.length} {unseen.length === 1 ? "pool" : "pools"} not called yet
        </button>
      )}
    </section>
  );
}

type PoolRowProps = {
  pool: PoolState;
  overview: Overview;
  chosenRef: LimiterRef;
  onChoose: (ref: LimiterRef) => void;
};

function PoolRow({ pool, overview, chosenRef, onChoose }: PoolRowProps) {
  const atMs = Date.parse(overview.at);
  const combined = pool.limiters.find((limiter) => limiter.limiter === "tokens");
  const newest = pool.limiters.toSorted((a, b) => (b.observedAt ?? "").localeCompare(a.observedAt ?? ""))[0];
  return (
    <div className={classes.row}>
      <div className={classes.pool}>
        <h3>
          <span className={classes.family} style={{ background: `var(--hr-${pool.family})` }} aria-hidden />
          {pool.name}
          {pool.state === "stale" && <Badge kind="stale">stale</Badge>}
          {pool.state === "idle" && <Badge kind="idle">idle</Badge>}
          {pool.state === "unseen" && <Badge kind="idle">not seen yet</Badge>}
        </h3>
        <p>
          <span>
            {pool.upstream}
            {pool.lane !== "standard" && `, ${pool.lane} lane`}
          </span>
          {newest && <span>{describeSource(newest, atMs)}</span>}
          {combined && (
            <button
              type="button"
              className={classes.combined}
              onClick={() => onChoose({ pool: pool.key, limiter: "tokens" })}
            >
              combined tokens {formatPercent(combined.utilisation)} of {formatShort(combined.limit)}
            </button>
          )}
        </p>
      </div>
      {COLUMNS.map((column) => {
        const limiter = pool.limiters.find((entry) => entry.limiter === column.limiter);
        const ref = { pool: pool.key, limiter: column.limiter };
        return limiter ? (
          <LimiterGauge
            key={column.limiter}
            {...{ pool, limiter, atMs }}
            title={column.title}
            series={overview.series[pool.key]}
            isChosen={isSameLimiter(ref, chosenRef)}
            onChoose={() => onChoose(ref)}
          />
        ) : (
          <p key={column.limiter} className={classes.unknown}>
            no limit known
          </p>
        );
      })}
    </div>
  );
}
