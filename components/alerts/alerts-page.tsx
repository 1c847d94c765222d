"use client";

import { PageBody } from "#components/layout/page-body.tsx";
import { PageHeader } from "#components/layout/page-header.tsx";
import { useLive } from "#components/live/live-provider.tsx";
import classes from "./alerts.module.css";
import { AlertsPanel } from "./alerts-panel.tsx";
import { ChannelsPanel } from "./channels-panel.tsx";
import { NotificationsPanel } from "./notifications-panel.tsx";
import { RulesPanel } from "./rules-panel.tsx";

/** What is wrong, what is watched, who is told, and whether they were. */
export function AlertsPage() {
  const { overview } = useLive();
  return (
    <>
      <PageHeader title="Alerts" />
      <PageBody>
        <div className={classes.page}>
          <AlertsPanel atMs={overview ? Date.parse(overview.at) : 0} />
          <div className={classes.columns}>
            <RulesPanel pools={overview?.pools ?? []} />
            <ChannelsPanel />
          </div>
          <NotificationsPanel />
        </div>
      </PageBody>
    </>
  );
}
