import { Count } from "#components/ui/count.tsx";
import { formatPercent } from "#components/ui/format.ts";
import { Panel } from "#components/ui/panel.tsx";
import { ShareBar } from "#components/ui/share-bar.tsx";
import table from "#components/ui/table.module.css";
import { toneOf } from "#components/ui/tone.ts";
import { formatUsd } from "#lib/kit/money.ts";
import type { AgentUse } from "#lib/overview/schema.ts";
import classes from "./agents-panel.module.css";
import type { Chosen } from "./choose-limiter.ts";
import { limiterShares } from "./limiter-shares.ts";
import { LIMITER_WORDS } from "./limiter-words.ts";

const ROWS = 12;

/** Who called in the last 60 s, by their share of the chosen limit. */
export function AgentsPanel({ agents, chosen }: { agents: readonly AgentUse[]; chosen: Chosen }) {
  const shares = new Map(limiterShares(chosen, agents, agents.length).map((use) => [use.name, use.share]));
  const rows = agents.toSorted((a, b) => (shares.get(b.agent) ?? 0) - (shares.get(a.agent) ?? 0) || b.calls - a.calls);
  const most = Math.max(...shares.values(), 0.01);
  const hidden = rows.length - ROWS;
  return (
    <Panel title="Agents" note="last 60 s, all pools">
      <div className={table.scroll}>
        <table className={table.table}>
          <thead>
            <tr>
              <th scope="col">Agent</th>
              <th scope="col" className={table.number}>
                Calls
              </th>
              <th scope="col" className={table.number}>
                Counted input
              </th>
              <th scope="col" className={`${table.number} ${table.wide} ${table.mid}`}>
                Cache reads
              </th>
              <th scope="col" className={`${table.number} ${table.wide}`}>
                Output
              </th>
              <th scope="col" className={`${table.wide} ${table.gap}`}>
                Share of {chosen.pool.name} {LIMITER_WORDS[chosen.limiter.limiter].phrase}
              </th>
              <th scope="col" className={`${table.number} ${table.wide} ${table.mid}`}>
                Refused
              </th>
              <th scope="col" className={`${table.number} ${table.wide}`}>
                Cost today
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, ROWS).map((agent, index) => (
              <AgentRow
                key={agent.agent}
                agent={agent}
                share={shares.get(agent.agent) ?? 0}
                most={most}
                tone={index === 0 ? toneOf(chosen.limiter.utilisation) : "used"}
              />
            ))}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p className={table.empty}>No agent called in the last minute.</p>}
      {hidden > 0 && <p className={table.empty}>and {hidden} more with less use</p>}
    </Panel>
  );
}

type AgentRowProps = { agent: AgentUse; share: number; most: number; tone: "used" | "warning" | "critical" };

function AgentRow({ agent, share, most, tone }: AgentRowProps) {
  return (
    <tr>
      <td className={`${table.strong} ${table.cut}`} title={agent.agent}>
        {agent.agent}
      </td>
      <td className={table.number}>
        <Count value={agent.calls} />
      </td>
      <td className={table.number}>
        <Count value={agent.countedInput} />
      </td>
      <td className={`${table.number} ${table.wide} ${table.mid} ${table.muted}`}>
        <Count value={agent.cacheRead} />
      </td>
      <td className={`${table.number} ${table.wide}`}>
        <Count value={agent.output} />
      </td>
      <td className={`${table.wide} ${table.gap}`}>
        <span className={classes.share}>
          <ShareBar share={share / most} tone={tone} />
          <span>{formatPercent(share)}</span>
        </span>
      </td>
      <td className={`${table.number} ${table.wide} ${table.mid} ${agent.refused > 0 ? table.bad : ""}`}>
        <Count value={agent.refused} />
      </td>
      <td className={`${table.number} ${table.wide}`}>{formatUsd(agent.costTodayNanoUsd)}</td>
    </tr>
  );
}
