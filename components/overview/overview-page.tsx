"use client";

import { useHotkeys } from "@mantine/hooks";
import { createParser, parseAsNumberLiteral, useQueryState } from "nuqs";
import { PageBody } from "#components/layout/page-body.tsx";
import { PageHeader } from "#components/layout/page-header.tsx";
import { useSingleKeys } from "#components/layout/shortcuts.tsx";
import { useLive } from "#components/live/live-provider.tsx";
import { Block } from "#components/ui/block.tsx";
import { Key } from "#components/ui/key.tsx";
import { Segments } from "#components/ui/segments.tsx";
import { LIMITERS } from "#lib/anthropic/pools.ts";
import { findTightest, formatLimiterRef, isSameLimiter, parseLimiterRef } from "./choose-limiter.ts";
import classes from "./overview-view.module.css";
import { OverviewView } from "./overview-view.tsx";
import { WaitingView } from "./waiting-view.tsx";

const parseAsLimiter = createParser({ parse: parseLimiterRef, serialize: formatLimiterRef, eq: isSameLimiter });
const RANGES = [
  { value: "5", label: "5 min" },
  { value: "15", label: "15 min" },
] as const;
const parseAsMinutes = parseAsNumberLiteral([5, 15]).withDefault(15);

/** The first page: the way in before any call, the control tower afterwards. */
export function OverviewPage() {
  const { overview } = useLive();
  const [minutes, setMinutes] = useQueryState("range", parseAsMinutes);
  const [picked, setPicked] = useQueryState("limit", parseAsLimiter);
  const [keysOn] = useSingleKeys();
  const pickLimiter = (index: number) => {
    const limiter = LIMITERS[index];
    const pool = picked?.pool ?? (overview && findTightest(overview.pools, null)?.pool.key);
    if (pool && limiter) void setPicked({ pool, limiter });
  };
  useHotkeys(
    keysOn
      ? [
          ...[0, 1, 2].map((index): [string, () => void] => [String(index + 1), () => pickLimiter(index)]),
          ["0", () => void setPicked(null)],
        ]
      : [],
  );
  const isWaiting = overview !== null && !overview.hasCalls;
  return (
    <>
      <PageHeader title="Overview">
        {!isWaiting && (
          <Segments
            label="Range of the charts"
            className={classes.range}
            data={RANGES}
            value={minutes === 5 ? "5" : "15"}
            onChange={(value) => void setMinutes(value === "5" ? 5 : 15)}
          />
        )}
      </PageHeader>
      <PageBody foot={<Foot isWaiting={isWaiting} />}>
        {overview === null && <Loading />}
        {isWaiting && <WaitingView overview={overview} />}
        {overview?.hasCalls && (
          <OverviewView
            overview={overview}
            rangeSeconds={minutes * 60}
            picked={picked}
            onPick={(ref) => void setPicked(ref)}
          />
        )}
      </PageBody>
    </>
  );
}

function Loading() {
  return (
    <div className={classes.view}>
      <Block height={470} label="Loading the overview" />
      <Block height={310} />
      <Block height={250} />
    </div>
  );
}

function Foot({ isWaiting }: { isWaiting: boolean }) {
  return (
    <>
      <span>
        {isWaiting ? (
          "No telemetry: Headroom talks only to your upstream and your channels"
        ) : (
          <>
            Times in UTC · updated every second · <Key>Space</Key> pauses
          </>
        )}
      </span>
      <span>
        {!isWaiting && (
          <>
            <Key>1</Key> <Key>2</Key> <Key>3</Key> choose the limiter ·{" "}
          </>
        )}
        <Key>?</Key> shortcuts
      </span>
    </>
  );
}
