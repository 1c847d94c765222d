import type { ReactNode } from "react";
import classes from "./page-body.module.css";

/** The part of a page below its header. */
export function PageBody({ children, foot }: { children: ReactNode; foot?: ReactNode }) {
  return (
    <div className={classes.body}>
      {children}
      {foot && <footer className={classes.foot}>{foot}</footer>}
    </div>
  );
}
