"use client";

import { IconPlayerPause, IconPlayerPlay } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { useLive } from "#components/live/live-provider.tsx";
import { Clock } from "./clock.tsx";
import { LiveBadge } from "./live-badge.tsx";
import { Logo } from "./logo.tsx";
import classes from "./page-header.module.css";
import { SchemeMenu } from "./scheme-menu.tsx";

/** The bar above a page: its name, how live it is, and the page's own controls. */
export function PageHeader({ title, children }: { title: string; children?: ReactNode }) {
  const { paused, togglePause } = useLive();
  const Icon = paused ? IconPlayerPlay : IconPlayerPause;
  return (
    <header className={classes.header}>
      <span className={classes.logo}>
        <Logo />
      </span>
      <h1>{title}</h1>
      <div className={classes.controls}>
        <LiveBadge />
        <Clock />
        <button
          type="button"
          className={classes.icon}
          onClick={togglePause}
          aria-pressed={paused}
          aria-label="Pause"
          title={paused ? "Go on (Space)" : "Pause (Space)"}
        >
          <Icon size={15} stroke={1.75} aria-hidden />
        </button>
        {children}
        <SchemeMenu className={classes.icon} />
      </div>
    </header>
  );
}
