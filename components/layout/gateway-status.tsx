import { formatAge, formatCount } from "#components/ui/format.ts";
import type { GatewayState } from "#lib/overview/schema.ts";
import classes from "./gateway-status.module.css";

/** What the operator should be able to take for granted, at the foot of the side bar. */
export function GatewayStatus({ gateway, atMs }: { gateway: GatewayState; atMs: number }) {
  const recordedWell = gateway.databaseReachable && !gateway.recordingFault;
  return (
    <dl className={classes.status}>
      <div>
        <dt>Gateway</dt>
        <dd>{gateway.version}</dd>
      </div>
      <div data-bad={!recordedWell || undefined}>
        <dt>Recorded</dt>
        <dd>{recordedText(gateway)}</dd>
      </div>
      <div>
        <dt>Rules checked</dt>
        <dd>{gateway.evaluatedAt ? formatAge(gateway.evaluatedAt, atMs) : "not yet"}</dd>
      </div>
    </dl>
  );
}

function recordedText(gateway: GatewayState): string {
  if (gateway.recordingFault) return "failing";
  if (!gateway.databaseReachable) return `spool ${formatCount(gateway.spoolRows)}`;
  return gateway.spoolRows === 0 ? "all, spool 0" : `spool ${formatCount(gateway.spoolRows)}`;
}
