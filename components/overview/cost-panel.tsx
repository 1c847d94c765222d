import { HourBars } from "#components/charts/hour-bars.tsx";
import { Panel } from "#components/ui/panel.tsx";
import { formatUsd, NANO_USD_PER_USD } from "#lib/kit/money.ts";
import type { Overview } from "#lib/overview/schema.ts";
import classes from "./cost-panel.module.css";

/** What the calls cost by Anthropic's price list. */
export function CostPanel({ cost }: { cost: Overview["cost"] }) {
  // Under a cent a minute two decimals would say nothing.
  const decimals = cost.lastMinuteNanoUsd > 0 && cost.lastMinuteNanoUsd < NANO_USD_PER_USD / 100 ? 6 : 2;
  return (
    <Panel title="Cost" note="list price, USD">
      <div className={classes.body}>
        <div className={classes.figures}>
          <p>
            <b>{formatUsd(cost.lastMinuteNanoUsd, decimals)}</b> / min
            <span>last 60 s</span>
          </p>
          <p>
            <b>{formatUsd(cost.todayNanoUsd)}</b>
            <span>today since 00:00 UTC</span>
          </p>
        </div>
        <HourBars values={cost.hoursNanoUsd} describe={formatUsd} />
      </div>
      {cost.unpricedCallsToday > 0 && (
        <p className={classes.unpriced}>
          {cost.unpricedCallsToday} {cost.unpricedCallsToday === 1 ? "call" : "calls"} today used a model without a
          known price and {cost.unpricedCallsToday === 1 ? "is" : "are"} not in these sums.
        </p>
      )}
    </Panel>
  );
}
