"use client";

import { IconAlertTriangleFilled } from "@tabler/icons-react";
import Link from "next/link";
import { usePathname } from "next/navigation";
import type { ReactNode } from "react";
import { useLive } from "#components/live/live-provider.tsx";
import { BlindStrip } from "./blind-strip.tsx";
import { GatewayStatus } from "./gateway-status.tsx";
import { Logo } from "./logo.tsx";
import { isCurrent, PAGES } from "./navigation.ts";
import classes from "./shell.module.css";
import { Shortcuts } from "./shortcuts.tsx";

/** The frame of every page: side bar, or tabs at the bottom of a narrow screen, and the page beside it. */
export function Shell({ children }: { children: ReactNode }) {
  const { overview, togglePause } = useLive();
  return (
    <div className={classes.shell}>
      <a href="#page" className={classes.skip}>
        Skip to the page
      </a>
      <aside className={classes.side}>
        <Link href="/" className={classes.brand}>
          <Logo />
          <span>Headroom</span>
        </Link>
        <Navigation alerts={overview?.alerts.filter((alert) => alert.state === "firing").length ?? 0} />
        <div className={classes.bottom}>
          {overview && <GatewayStatus gateway={overview.gateway} atMs={Date.parse(overview.at)} />}
          <Shortcuts onPause={togglePause} />
        </div>
      </aside>
      <main id="page" className={classes.page} tabIndex={-1}>
        <BlindStrip />
        {children}
      </main>
    </div>
  );
}

function Navigation({ alerts }: { alerts: number }) {
  const pathname = usePathname();
  return (
    <nav aria-label="Pages" className={classes.nav}>
      {PAGES.map(({ href, label, icon: Icon }) => (
        <Link key={href} href={href} aria-current={isCurrent(href, pathname) ? "page" : undefined} title={label}>
          <Icon size={18} stroke={1.6} aria-hidden />
          <span className={classes.label}>{label}</span>
          {href === "/alerts" && alerts > 0 && <AlertCount count={alerts} />}
        </Link>
      ))}
    </nav>
  );
}

function AlertCount({ count }: { count: number }) {
  return (
    <span className={classes.count}>
      <IconAlertTriangleFilled size={12} aria-hidden />
      {count}
      <span className={classes.hidden}> firing</span>
    </span>
  );
}
