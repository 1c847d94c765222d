import type { ReactNode } from "react";
import { Logo } from "./logo.tsx";
import classes from "./message.module.css";

/** A page that only says something. */
export function Message({ title, kind, children }: { title: string; kind?: "critical"; children: ReactNode }) {
  return (
    <main className={classes.page}>
      <div className={classes.brand}>
        <Logo size={24} /> Headroom
      </div>
      <section className={classes.box} data-kind={kind}>
        <h1>{title}</h1>
        {children}
      </section>
    </main>
  );
}
