import type { ReactNode } from "react";
import classes from "./panel.module.css";

type PanelProps = { title: ReactNode; note?: ReactNode; aside?: ReactNode; id?: string; children: ReactNode };

/** A bordered part of a page with its heading. */
export function Panel({ title, note, aside, id, children }: PanelProps) {
  return (
    <section className={classes.panel} id={id}>
      <PanelHead title={title} note={note} aside={aside} />
      {children}
    </section>
  );
}

export function PanelHead({ title, note, aside }: Omit<PanelProps, "children" | "id">) {
  return (
    <div className={classes.head}>
      <h2 className={classes.title}>{title}</h2>
      {note && <span className={classes.note}>{note}</span>}
      {aside && <div className={classes.aside}>{aside}</div>}
    </div>
  );
}
