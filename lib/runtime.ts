import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { type Access, createAccess } from "./access/access.ts";
import { Operators } from "./access/operators.ts";
import { DEFAULT_UPSTREAM } from "./access/schema.ts";
import { type Alerting, createAlerting } from "./alerts/alerting.ts";
import { createDatabase, type Database } from "./database/database.ts";
import { createGateway, type Gateway } from "./gateway/gateway.ts";
import { ResponseCache } from "./gateway/response-cache.ts";
import { TrafficDesk } from "./gateway/traffic-desk.ts";
import { systemClock } from "./kit/clock.ts";
import { messageOf } from "./kit/errors.ts";
import { createLog } from "./kit/log.ts";
import { SecretBox } from "./kit/secret-box.ts";
import { LimitBook } from "./limits/limit-book.ts";
import { UnifiedBook } from "./limits/unified-book.ts";
import { Costs } from "./overview/costs.ts";
import { Housekeeping } from "./overview/housekeeping.ts";
import { Metrics } from "./overview/metrics.ts";
import { OverviewHub } from "./overview/overview-hub.ts";
import { Refusals } from "./overview/refusals.ts";
import type { GatewayState } from "./overview/schema.ts";
import { Waits } from "./overview/waits.ts";
import { createAdminReports } from "./reconciliation/admin-reports.ts";
import { Reconciliation } from "./reconciliation/reconciliation.ts";
import { type Env, isLoopback, parseEnv } from "./settings/env.ts";
import { readSecrets } from "./settings/secrets.ts";
import { VERSION } from "./settings/version.ts";
import { TrafficController } from "./traffic/traffic-controller.ts";
import { Drain } from "./usage/drain.ts";
import { LiveUsage } from "./usage/live-usage.ts";
import { priceLateCalls } from "./usage/repricing.ts";
import { Spool } from "./usage/spool.ts";

const KEY = Symbol.for("headroom.runtime");
/** How long a start waits for the agents; until they are there, their calls are told to come again. */
const AGENTS_PATIENCE_MS = 2_000;

/** All of Headroom but its doors, put together once a process. */
export type Runtime = {
  publicUrl: string;
  database: Database;
  gateway: Gateway;
  limits: LimitBook;
  windows: UnifiedBook;
  overview: OverviewHub;
  metrics: Metrics;
  alerting: Alerting;
  traffic: TrafficDesk;
  cache: ResponseCache;
  access: Access;
  operators: Operators;
  reconciliation: Reconciliation;
  /** Recorded calls that are not in the database yet. */
  readonly spoolRows: number;
  /** What `/readyz` says. */
  readiness(): Promise<{ ready: boolean; faults: string[] }>;
  /** No new calls; open ones get the grace; then everything is flushed and closed. */
  close(graceMs: number): Promise<void>;
};

export type RuntimeOptions = { env: Env; publicUrl: string; demo?: boolean };

type Store = { [KEY]?: Promise<Runtime> | undefined };

/** The process's runtime. `server.ts` has started it; where there is no such server the first who asks starts it. */
export function getRuntime(): Promise<Runtime> {
  const env = () => parseEnv(process.env);
  return (
    (globalThis as Store)[KEY] ??
    startRuntime({ env: env(), publicUrl: env().HEADROOM_PUBLIC_URL ?? defaultUrl(env()) })
  );
}

/** Builds the runtime and makes it the process's own. Throws an AppError that says what to mend. */
export function startRuntime(options: RuntimeOptions): Promise<Runtime> {
  const starting = build(options);
  const store = globalThis as Store;
  store[KEY] = starting;
  // A start that failed may be tried again once its cause is mended.
  starting.catch(() => {
    store[KEY] = undefined;
  });
  return starting;
}

async function build({ env, publicUrl, demo = false }: RuntimeOptions): Promise<Runtime> {
  const clock = systemClock;
  const log = createLog(env.HEADROOM_LOG_LEVEL);
  const secrets = readSecrets(env);
  const box = new SecretBox(secrets.masterKey);
  const spoolDir = resolve(env.HEADROOM_DATA_DIR, "spool");
  const { lockFolder, openDatabase } = await databaseStarters();
  const lock = lockFolder(spoolDir);
  const spool = new Spool(spoolDir);
  const opened = await openDatabase(env, log).catch((error: unknown) => {
    spool.close();
    lock.release();
    throw error;
  });
  const database = createDatabase(opened.address);

  const live = new LiveUsage({ clock });
  const limits = new LimitBook({ clock, use: live });
  const windows = new UnifiedBook({ clock });
  const costs = new Costs({ clock });
  const refusals = new Refusals({ clock });
  const metrics = new Metrics();
  const builtIn = { baseUrl: env.HEADROOM_UPSTREAM_URL, apiKey: env.ANTHROPIC_API_KEY ?? null };
  const access = createAccess({ database, box, clock, builtIn });
  // Agents must be known before the first call; where the database is away or slow, housekeeping brings them later.
  const loading = access.load().catch((error: unknown) => {
    log.warn({ error: messageOf(error) }, "agents could not be read yet");
  });
  await Promise.race([loading, delay(AGENTS_PATIENCE_MS, undefined, { ref: false })]);
  const operators = new Operators({ adminToken: secrets.adminToken, box, clock });
  const drain = new Drain({ spool, database, rejectedPath: join(spoolDir, "rejected.jsonl"), log });
  const loopback = isLoopback(env.HOST);
  const passThrough = env.HEADROOM_PASS_THROUGH ?? loopback;
  const overview: OverviewHub = new OverviewHub({
    ...{ clock, live, limits, costs, refusals, waits: new Waits({ clock }) },
    traffic: () => traffic.snapshot(),
    alerts: () => alerting.engine.current(),
    gateway: () => gatewayState(),
  });
  const alerting = createAlerting({
    ...{ database, secretBox: box, log, clock, publicUrl },
    pools: () => limits.states(),
    topAgents: (key, limiter) => overview.topAgents(key, limiter),
    mail: env.SMTP_URL && env.HEADROOM_MAIL_FROM ? { smtpUrl: env.SMTP_URL, from: env.HEADROOM_MAIL_FROM } : null,
    allowedCidrs: env.WEBHOOK_ALLOWED_CIDRS,
    allowLoopback: loopback,
  });
  const traffic = new TrafficDesk({
    controller: new TrafficController({ random: Math.random }),
    clock,
    expected: (place) => limits.known(place),
  });
  const cache = new ResponseCache({ clock, log });
  access.settings.follow(({ trafficMode, poolModes }) => traffic.setModes(trafficMode, poolModes));
  const gateway = createGateway({
    ...{ live, limits, traffic, cache, clock, log },
    ...{ agentKeys: access.agentKeys, guard: access.guard, settings: access.settings },
    ...{ windows, publicUrl: env.HEADROOM_PUBLIC_URL ?? null },
    upstream: { name: DEFAULT_UPSTREAM, ...builtIn },
    upstreams: access.upstreams,
    recorder: {
      record: (call) => {
        overview.add(call, spool.record(call));
        metrics.add(call);
      },
    },
    passThrough,
    believeLabels: env.HEADROOM_BELIEVE_HEADERS ?? loopback,
    timeouts: {
      connectMs: env.HEADROOM_UPSTREAM_CONNECT_S * 1_000,
      headersMs: env.HEADROOM_UPSTREAM_ANSWER_S * 1_000,
      streamHeadersMs: env.HEADROOM_UPSTREAM_STREAM_S * 1_000,
    },
  });
  // Once, and before sums are read back into memory.
  const recovered = drain.recovered.then(() => priceLateCalls({ database, log }));
  const housekeeping = new Housekeeping({
    ...{ database, live, limits, costs, refusals, overview, access, clock, log },
    recovered: async () => {
      await recovered;
    },
  });
  const { HEADROOM_UPSTREAM_URL: baseUrl, ANTHROPIC_ADMIN_KEY: adminKey } = env;
  const reports = adminKey ? createAdminReports({ baseUrl, adminKey }) : null;
  const reconciliation = new Reconciliation({ database, reports, clock, log });

  function gatewayState(): GatewayState {
    return {
      version: VERSION,
      url: publicUrl,
      upstreamUrl: env.HEADROOM_UPSTREAM_URL,
      upstream: DEFAULT_UPSTREAM,
      database: opened.kind,
      databaseReachable: drain.fault === null && housekeeping.fault === null,
      spoolRows: spool.rows,
      recordingFault: spool.fault,
      evaluatedAt: alerting.engine.evaluatedAt,
      openCalls: gateway.openCalls,
      hasAgentCredential: access.upstreams.callable.length > 0,
      passThrough,
      channels: housekeeping.channels,
      demo,
    };
  }

  drain.start();
  housekeeping.start();
  alerting.start();
  reconciliation.start();

  return {
    ...{
      publicUrl,
      database,
      gateway,
      limits,
      windows,
      overview,
      metrics,
      alerting,
      traffic,
      cache,
      access,
      operators,
      reconciliation,
    },
    get spoolRows() {
      return spool.rows;
    },
    async readiness() {
      const faults = [spool.fault, drain.fault, housekeeping.fault].filter((fault) => fault !== null);
      return { ready: faults.length === 0, faults };
    },
    async close(graceMs) {
      await gateway.close(graceMs);
      traffic.close();
      overview.close();
      await alerting.close();
      await reconciliation.close();
      await housekeeping.close();
      await drain.close();
      spool.close();
      await opened.close();
      lock.release();
    },
  };
}

/**
 * What starts databases is loaded by Node itself, never by a bundler: it finds its own files (the owner's program, the
 * migrations) by where it lies.
 */
async function databaseStarters() {
  const load = (path: string) => import(/* turbopackIgnore: true */ pathToFileURL(resolve(path)).href);
  const { openDatabase }: typeof import("./database/open-database.ts") = await load("lib/database/open-database.ts");
  const { lockFolder }: typeof import("./database/embedded/lock.ts") = await load("lib/database/embedded/lock.ts");
  return { openDatabase, lockFolder };
}

function defaultUrl(env: Env): string {
  return `http://${env.HOST}:${env.PORT}`;
}
