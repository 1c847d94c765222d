"use client";

import { Tabs } from "@mantine/core";
import { IconCircleCheckFilled, IconCircleDot } from "@tabler/icons-react";
import Link from "next/link";
import type { ReactNode } from "react";
import { Badge } from "#components/ui/badge.tsx";
import { CodeBlock } from "#components/ui/code-block.tsx";
import { formatCount } from "#components/ui/format.ts";
import { GaugeBar } from "#components/ui/gauge-bar.tsx";
import panel from "#components/ui/panel.module.css";
import { PanelHead } from "#components/ui/panel.tsx";
import type { PoolState } from "#lib/limits/schema.ts";
import type { GatewayState, Overview } from "#lib/overview/schema.ts";
import { LIMITER_WORDS } from "./limiter-words.ts";
import { clientSnippets } from "./snippets.ts";
import classes from "./waiting-view.module.css";

export const DATABASES: Record<GatewayState["database"], string> = {
  embedded: "embedded",
  postgres: "Postgres",
  supabase: "Supabase",
};

/** Before the first call: how to point a client here, and what its answer will fill in. */
export function WaitingView({ overview }: { overview: Overview }) {
  const { gateway, pools } = overview;
  return (
    <div className={classes.view}>
      <section className={`${panel.panel} ${classes.steps}`} aria-label="Getting started">
        <header className={classes.head}>
          <span className={classes.mark} aria-hidden />
          <div>
            <h2>Waiting for the first call</h2>
            <p>Point one agent at Headroom. This page changes by itself when its first call arrives.</p>
          </div>
        </header>
        <ol>
          <Step done title="Gateway is listening">
            <code>{gateway.url}</code> · database {DATABASES[gateway.database]} · prompts and answers are never stored
          </Step>
          <CredentialStep {...gateway} />
          <Step title="Change one line in your agent">
            <Snippets url={gateway.url} />
          </Step>
        </ol>
      </section>
      <section className={`${panel.panel} ${classes.preview}`} aria-label="Limits at rest">
        <PanelHead title="What will be here" note="Start tier, from the published table" />
        {pools.slice(0, 3).map((pool) => (
          <PoolAtRest key={pool.key} pool={pool} />
        ))}
        <p className={classes.note}>
          Limits differ per organisation. The first answer's headers replace these figures.
        </p>
      </section>
      <Facts gateway={gateway} />
    </div>
  );
}

/** Which keys agents may come with here, and what is missing for that. */
function CredentialStep({ hasAgentCredential, passThrough }: Pick<GatewayState, "hasAgentCredential" | "passThrough">) {
  if (!hasAgentCredential && !passThrough) {
    return (
      <Step title="Set an upstream credential">
        Only Headroom agent keys (hr_…) are taken here, and they need one to go out with: set{" "}
        <code>ANTHROPIC_API_KEY</code> and restart, or let agents keep their own with{" "}
        <code>HEADROOM_PASS_THROUGH=on</code>.
      </Step>
    );
  }
  if (!hasAgentCredential) {
    return (
      <Step done title="Keys are passed through">
        Agents keep their own Anthropic key; Headroom hands it on untouched.
      </Step>
    );
  }
  return (
    <Step done title="An upstream credential is set">
      Calls with a Headroom agent key (hr_…) go out with it
      {passThrough && "; agents may also keep their own Anthropic key"}.
    </Step>
  );
}

function Step({ done = false, title, children }: { done?: boolean; title: string; children: ReactNode }) {
  const Icon = done ? IconCircleCheckFilled : IconCircleDot;
  return (
    <li className={classes.step}>
      <Icon size={20} className={done ? classes.done : classes.next} aria-label={done ? "Done:" : "Next:"} role="img" />
      <div>
        <h3>{title}</h3>
        <div className={classes.stepText}>{children}</div>
      </div>
    </li>
  );
}

function Snippets({ url }: { url: string }) {
  const snippets = clientSnippets(url);
  return (
    <Tabs defaultValue={snippets[0]?.id} keepMounted={false} className={classes.tabs}>
      <Tabs.List aria-label="Client">
        {snippets.map((snippet) => (
          <Tabs.Tab key={snippet.id} value={snippet.id} className={classes.tab}>
            {snippet.label}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {snippets.map((snippet) => (
        <Tabs.Panel key={snippet.id} value={snippet.id} pt={12}>
          <CodeBlock code={snippet.code} label={`${snippet.label} example`} marked={url} />
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}

function PoolAtRest({ pool }: { pool: PoolState }) {
  return (
    <div className={classes.pool}>
      <h3>
        <span className={classes.family} style={{ background: `var(--hr-${pool.family})` }} aria-hidden />
        {pool.name} <Badge kind="idle">not seen yet</Badge>
      </h3>
      <dl>
        {pool.limiters.map((limiter) => (
          <div key={limiter.limiter}>
            <dt>{LIMITER_WORDS[limiter.limiter].title}</dt>
            <dd className={classes.rest}>
              <GaugeBar share={0} tone="used" look="idle" dashedCeiling />
            </dd>
            <dd>{formatCount(limiter.limit)}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** Only what is known without asking anybody outside. */
function Facts({ gateway }: { gateway: GatewayState }) {
  const upstream = URL.canParse(gateway.upstreamUrl) ? new URL(gateway.upstreamUrl).host : gateway.upstreamUrl;
  return (
    <section className={`${panel.panel} ${classes.facts}`} aria-label="State">
      <div className={classes.fact}>
        <p>Database</p>
        <b>{gateway.databaseReachable ? "Reachable" : "Not reachable"}</b>
        <span>{DATABASES[gateway.database]}</span>
      </div>
      <div className={classes.fact}>
        <p>Recording</p>
        <b>{gateway.recordingFault ? "Not working" : "Ready"}</b>
        <span>{gateway.recordingFault ?? "calls are kept on disk until they are stored"}</span>
      </div>
      <div className={classes.fact}>
        <p>Upstream</p>
        <b>{upstream}</b>
        <span>{gateway.demo ? "the built-in simulator" : gateway.upstream}</span>
      </div>
      <div className={classes.fact}>
        <p>Alert channels</p>
        <b>{gateway.channels === 0 ? "None yet" : formatCount(gateway.channels)}</b>
        <Link href="/alerts#channels">{gateway.channels === 0 ? "Add one before you need it" : "See them"}</Link>
      </div>
    </section>
  );
}
