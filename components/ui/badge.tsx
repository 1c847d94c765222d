import {
  IconAlertOctagonFilled,
  IconAlertTriangleFilled,
  IconCircleCheckFilled,
  IconCircleDashed,
  IconClock,
  IconInfoCircle,
} from "@tabler/icons-react";
import type { ReactNode } from "react";
import classes from "./badge.module.css";

export type BadgeKind = "ok" | "warning" | "critical" | "stale" | "idle" | "info";

const ICONS = {
  ok: IconCircleCheckFilled,
  warning: IconAlertTriangleFilled,
  critical: IconAlertOctagonFilled,
  stale: IconClock,
  idle: IconCircleDashed,
  info: IconInfoCircle,
};

/** Icon, word and colour together: no state is told by colour alone. */
export function Badge({ kind, children }: { kind: BadgeKind; children: ReactNode }) {
  const Icon = ICONS[kind];
  return (
    <span className={classes.badge} data-kind={kind}>
      <Icon size={13} aria-hidden />
      {children}
    </span>
  );
}
