import type { ReactNode } from "react";
import classes from "./strip.module.css";

/** A message across the page about a state: tinted, with its own edge. */
export function Strip({ kind, children }: { kind: "warning" | "critical"; children: ReactNode }) {
  return (
    <div className={classes.strip} data-kind={kind}>
      {children}
    </div>
  );
}
