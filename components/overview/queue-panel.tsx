import { IconChevronDown, IconChevronsUp, IconChevronUp, IconMinus } from "@tabler/icons-react";
import { Count } from "#components/ui/count.tsx";
import { formatCount, formatDuration, UNKNOWN } from "#components/ui/format.ts";
import { Panel } from "#components/ui/panel.tsx";
import table from "#components/ui/table.module.css";
import type { Overview } from "#lib/overview/schema.ts";
import classes from "./queue-panel.module.css";

const MARKS = { critical: IconChevronsUp, high: IconChevronUp, normal: IconMinus, low: IconChevronDown };

/** What waits for room, most important first, and how long calls of each class have waited lately. */
export function QueuePanel({ queue }: { queue: Overview["queue"] }) {
  const total = queue.reduce((sum, { waiting }) => sum + waiting, 0);
  return (
    <Panel title="Waiting in the queue" note={total === 1 ? "1 call" : `${formatCount(total)} calls`}>
      <div className={classes.bar} aria-hidden>
        {queue
          .filter(({ waiting }) => waiting > 0)
          .map((entry) => (
            <span key={entry.class} style={{ flexGrow: entry.waiting, background: `var(--hr-class-${entry.class})` }} />
          ))}
      </div>
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Class</th>
            <th scope="col" className={table.number}>
              Waiting
            </th>
            <th scope="col" className={table.number}>
              Oldest
            </th>
            <th scope="col" className={table.number}>
              p95, 5 min
            </th>
          </tr>
        </thead>
        <tbody>
          {queue.map((entry) => {
            const Mark = MARKS[entry.class];
            return (
              <tr key={entry.class}>
                <td>
                  <span className={classes.class}>
                    <Mark size={14} color={`var(--hr-class-${entry.class})`} aria-hidden />
                    {entry.class}
                  </span>
                </td>
                <td className={table.number}>
                  <Count value={entry.waiting} />
                </td>
                <td className={table.number}>
                  {entry.waiting > 0 ? formatDuration(entry.oldestWaitS * 1_000) : UNKNOWN}
                </td>
                <td className={table.number}>
                  {entry.p95WaitS === null ? UNKNOWN : formatDuration(entry.p95WaitS * 1_000)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Panel>
  );
}
