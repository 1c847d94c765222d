import { MinuteTicks } from "#components/charts/minute-ticks.tsx";
import { Panel } from "#components/ui/panel.tsx";
import type { Overview } from "#lib/overview/schema.ts";
import { describeRefusal, MAIN_REFUSALS } from "./refusal-words.ts";
import classes from "./refusals-panel.module.css";

/** Why calls were not served: each cause wants another reaction, so they are never one number. */
export function RefusalsPanel({ refusals }: { refusals: Overview["refusals"] }) {
  const known = new Map(refusals.map((entry) => [entry.refusal, entry]));
  const others = refusals.filter((entry) => !MAIN_REFUSALS.some((name) => name === entry.refusal) && entry.total > 0);
  const rows = [...MAIN_REFUSALS.map((name) => known.get(name) ?? { refusal: name, total: 0, minutes: [] }), ...others];
  return (
    <Panel title="Refused calls by cause" note="last 60 min">
      <ul className={classes.list}>
        {rows.map((row) => {
          const words = describeRefusal(row.refusal);
          return (
            <li key={row.refusal} data-zero={row.total === 0 || undefined} title={words.help}>
              <span>{words.title}</span>
              <MinuteTicks minutes={row.minutes} />
              <b>{row.total}</b>
            </li>
          );
        })}
      </ul>
    </Panel>
  );
}
