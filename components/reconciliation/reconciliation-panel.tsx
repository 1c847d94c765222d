"use client";

import { useQuery } from "@tanstack/react-query";
import { Badge } from "#components/ui/badge.tsx";
import { formatAge, formatCount, formatDay, UNKNOWN } from "#components/ui/format.ts";
import { Panel } from "#components/ui/panel.tsx";
import { QueryBody } from "#components/ui/query-body.tsx";
import table from "#components/ui/table.module.css";
import { formatUsd, NANO_USD_PER_USD } from "#lib/kit/money.ts";
import type { DaySums, ReconciledDay } from "#lib/reconciliation/schema.ts";
import { type LastDay, readLastDay } from "./last-day.ts";
import classes from "./reconciliation-panel.module.css";

const REFRESH_MS = 600_000;

type ModelRow = ReconciledDay["models"][number];

/** The newest complete day by Anthropic's own reports. Not there without an Admin key, which they can only be read with. */
export function ReconciliationPanel({ atMs }: { atMs: number }) {
  const query = useQuery({ queryKey: ["reconciliation"], queryFn: readLastDay, refetchInterval: REFRESH_MS });
  if (query.isPending || query.data?.length === 0) return null;
  const [last] = query.data ?? [];
  return (
    <Panel title="Against Anthropic's reports" note={last?.day ? noteOf(last.day, atMs) : "by UTC day"}>
      <QueryBody query={query} empty={null}>
        {([entry]) => (entry ? <LastDayBody last={entry} /> : null)}
      </QueryBody>
    </Panel>
  );
}

function noteOf({ day, readAt }: ReconciledDay, atMs: number): string {
  const date = formatDay(Date.parse(day)).split(" ").slice(0, 2).join(" ");
  return readAt === null ? `${date}, UTC` : `${date}, UTC, read ${formatAge(readAt, atMs)}`;
}

function LastDayBody({ last: { day, fault } }: { last: LastDay }) {
  return (
    <>
      {fault !== null && (
        <p className={classes.fault}>
          <Badge kind="warning">Not read</Badge> {fault}
        </p>
      )}
      {day === null && (
        <p className={table.empty}>No report has been read yet: the first is asked for after the start.</p>
      )}
      {day?.models.length === 0 && <p className={table.empty}>Neither side knows of any use on that day.</p>}
      {day !== null && day.models.length > 0 && <DayTable day={day} />}
    </>
  );
}

function DayTable({ day }: { day: ReconciledDay }) {
  return (
    <div className={table.scroll}>
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Model</th>
            <th scope="col" className={`${table.number} ${table.wide}`}>
              Headroom
            </th>
            <th scope="col" className={`${table.number} ${table.wide}`}>
              Anthropic
            </th>
            <th scope="col" className={table.number}>
              Cost apart
            </th>
            <th scope="col" className={table.number}>
              Tokens apart
            </th>
            <th scope="col" className={`${table.wide} ${table.mid} ${table.gap}`}>
              Note
            </th>
          </tr>
        </thead>
        <tbody>
          {day.models.map((row) => (
            <SumsRow
              key={row.model ?? ""}
              name={row.model ?? "Searches, code execution"}
              row={row}
              note={noteFor(row)}
            />
          ))}
          {day.models.length > 1 && <SumsRow name="All" row={day.total} note="" />}
        </tbody>
      </table>
    </div>
  );
}

function SumsRow({ name, row, note }: { name: string; row: Omit<ModelRow, "model" | "reason">; note: string }) {
  const { anthropic, headroom, difference } = row;
  return (
    <tr>
      <td className={`${table.strong} ${table.cut}`} title={name}>
        {name}
      </td>
      <td className={`${table.number} ${table.wide}`}>{headroom ? usd(headroom.costNanoUsd) : UNKNOWN}</td>
      <td className={`${table.number} ${table.wide}`}>{anthropic ? usd(anthropic.costNanoUsd) : UNKNOWN}</td>
      <td className={table.number}>{difference ? <Signed value={difference.costNanoUsd} write={usd} /> : UNKNOWN}</td>
      <td className={table.number}>
        {difference ? <Signed value={tokensOf(difference)} write={formatCount} /> : UNKNOWN}
      </td>
      <td className={`${table.wide} ${table.mid} ${table.gap} ${table.muted}`}>{note}</td>
    </tr>
  );
}

function Signed({ value, write }: { value: number; write: (size: number) => string }) {
  if (value === 0) return <span className={table.faint}>0</span>;
  return `${value > 0 ? "+" : "\u2212"}${write(Math.abs(value))}`;
}

function noteFor({ reason, headroom }: ModelRow): string {
  if (reason === "outside_headroom") return "all of it went past Headroom";
  if (reason === "not_reported") return "not in Anthropic's reports";
  const unpriced = headroom?.unpricedCalls ?? 0;
  if (unpriced === 0) return "";
  return `${formatCount(unpriced)} ${unpriced === 1 ? "call" : "calls"} without a known price`;
}

/** Under a cent two decimals would say nothing. */
function usd(nano: number): string {
  return formatUsd(nano, nano > 0 && nano < NANO_USD_PER_USD / 100 ? 6 : 2);
}

function tokensOf(sums: DaySums): number {
  const { inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens } = sums;
  return inputTokens + cacheWrite5mTokens + cacheWrite1hTokens + cacheReadTokens + outputTokens;
}
