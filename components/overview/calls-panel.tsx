"use client";

import { useState } from "react";
import { Badge } from "#components/ui/badge.tsx";
import { Count } from "#components/ui/count.tsx";
import { formatClock, formatDay, formatLatency, UNKNOWN } from "#components/ui/format.ts";
import { Panel } from "#components/ui/panel.tsx";
import table from "#components/ui/table.module.css";
import { poolOf } from "#lib/anthropic/pools.ts";
import { formatUsd } from "#lib/kit/money.ts";
import type { CallRecord } from "#lib/usage/schema.ts";
import classes from "./calls-panel.module.css";
import { describeRefusal } from "./refusal-words.ts";
import { useHeldRows } from "./use-held-rows.ts";

const ROWS = 12;

/** Calls as they end, newest first. While the pointer or the focus is inside, nothing moves: new ones wait above. */
export function CallsPanel({ calls }: { calls: readonly CallRecord[] }) {
  const [isHeld, setIsHeld] = useState(false);
  const [rows, waiting] = useHeldRows(calls, isHeld);
  return (
    <Panel
      title="Calls"
      note="as they end"
      aside={
        <span className={classes.waiting} data-some={waiting > 0 || undefined}>
          {waiting > 0
            ? `${waiting === calls.length ? `${waiting}+` : waiting} new, held while you point here`
            : "newest first"}
        </span>
      }
    >
      <div
        className={table.scroll}
        data-holding={waiting > 0 || undefined}
        onPointerEnter={() => setIsHeld(true)}
        onPointerLeave={() => setIsHeld(false)}
      >
        <table className={`${table.table} ${classes.calls}`} data-holding={waiting > 0 || undefined}>
          <caption className={classes.caption}>The newest {ROWS} calls that ended</caption>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Agent</th>
              <th scope="col">Model</th>
              <th scope="col">Status</th>
              <th scope="col" className={`${table.number} ${table.wide}`}>
                Counted input
              </th>
              <th scope="col" className={`${table.number} ${table.wide} ${table.mid}`}>
                Cache read
              </th>
              <th scope="col" className={`${table.number} ${table.wide}`}>
                Output
              </th>
              <th scope="col" className={`${table.number} ${table.wide} ${table.mid}`}>
                TTFT
              </th>
              <th scope="col" className={`${table.number} ${table.wide}`}>
                Latency
              </th>
              <th scope="col" className={`${table.number} ${table.wide}`}>
                Cost
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, ROWS).map((call) => (
              <CallRow key={call.id} call={call} />
            ))}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p className={table.empty}>No call has ended since Headroom started.</p>}
    </Panel>
  );
}

function CallRow({ call }: { call: CallRecord }) {
  const pool = call.model ? poolOf(call.model) : null;
  const endedMs = Date.parse(call.startedAt) + call.latencyMs;
  return (
    <tr>
      <td className={table.muted} title={`ended ${formatDay(endedMs)} UTC`}>
        {formatClock(endedMs)}
      </td>
      <td className={`${table.strong} ${table.cut} ${classes.agent}`} title={call.agent}>
        {call.agent}
      </td>
      <td className={table.cut} title={call.model ?? undefined}>
        {pool ? (
          <>
            <span className={classes.family} style={{ background: `var(--hr-${pool.family})` }} aria-hidden />
            <span className={classes.model}>{pool.name}</span>
          </>
        ) : (
          <span className={table.faint}>{call.endpoint}</span>
        )}
      </td>
      <td>
        <CallStatus call={call} />
      </td>
      <td className={`${table.number} ${table.wide}`}>
        <Count value={call.inputTokens + call.cacheWriteTokens} />
      </td>
      <td className={`${table.number} ${table.wide} ${table.mid} ${table.muted}`}>
        <Count value={call.cacheReadTokens} />
      </td>
      <td className={`${table.number} ${table.wide}`}>
        <Count value={call.outputTokens} />
      </td>
      <td className={`${table.number} ${table.wide} ${table.mid} ${table.muted}`}>
        {call.ttftMs === null ? UNKNOWN : formatLatency(call.ttftMs)}
      </td>
      <td className={`${table.number} ${table.wide}`}>{formatLatency(call.latencyMs)}</td>
      <td className={`${table.number} ${table.wide}`}>
        {call.costNanoUsd === null ? (
          <span className={table.faint} title="No known price for this model">
            no price
          </span>
        ) : (
          formatUsd(call.costNanoUsd, 6)
        )}
      </td>
    </tr>
  );
}

/** A plain success needs no badge; one that cost nothing says why. */
function CallStatus({ call }: { call: CallRecord }) {
  const status = call.status === null ? "no answer" : String(call.status);
  if (call.outcome === "succeeded") return call.cacheHit ? <Badge kind="info">{status} cached</Badge> : status;
  if (call.outcome === "partial") return <Badge kind="warning">{status} cut short</Badge>;
  if (call.outcome === "canceled") return <Badge kind="idle">left by client</Badge>;
  return <Badge kind="critical">{call.refusal ? `${status} ${describeRefusal(call.refusal).short}` : status}</Badge>;
}
