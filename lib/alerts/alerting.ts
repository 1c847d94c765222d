import type { Database } from "../database/database.ts";
import type { Clock } from "../kit/clock.ts";
import { createId } from "../kit/ids.ts";
import type { Log } from "../kit/log.ts";
import type { SecretBox } from "../kit/secret-box.ts";
import { createAddressGuard } from "./channels/address-guard.ts";
import type { MailOptions } from "./channels/email.ts";
import { type ChannelKinds, createChannelKinds } from "./channels/registry.ts";
import { Deliverer } from "./deliver.ts";
import { AlertEngine, type AlertEngineOptions } from "./engine.ts";
import type { AlertsContext } from "./service/context.ts";

export type AlertingOptions = Pick<AlertEngineOptions, "pools" | "topAgents"> & {
  database: Database;
  secretBox: SecretBox;
  log: Log;
  /** Where people reach the dashboard, for the links in notices. */
  publicUrl: string;
  /** Null without SMTP_URL: mail channels cannot be added then. */
  mail: MailOptions | null;
  /** In-house networks that webhooks may reach. */
  allowedCidrs?: readonly string[];
  /** Whether webhooks may reach this machine: where the server itself listens on loopback only. */
  allowLoopback?: boolean;
  clock?: Clock;
  /** Instead of the real channels; for tests. */
  kinds?: ChannelKinds;
};

export type Alerting = AlertsContext & {
  start(): void;
  /** Lets what is under way end, and gives the lease back. */
  close(): Promise<void>;
};

/** Alerting put together: the engine that notices, the worker that tells, and what the service verbs need. */
export function createAlerting(options: AlertingOptions): Alerting {
  const { database, secretBox, log, pools, topAgents, clock } = options;
  const holder = createId();
  const guard = createAddressGuard(options);
  const kinds = options.kinds ?? createChannelKinds({ guard, mail: options.mail });
  const publicUrl = options.publicUrl.replace(/\/+$/, "");
  const deliverer = new Deliverer({ database, kinds, secretBox, log, holder, publicUrl });
  const engine = new AlertEngine({
    database,
    log,
    holder,
    pools,
    topAgents,
    onNotice: () => deliverer.wake(),
    ...(clock ? { clock } : {}),
  });
  return {
    database,
    secretBox,
    kinds,
    engine,
    deliverer,
    start() {
      engine.start();
      deliverer.start();
    },
    async close() {
      await engine.close();
      await deliverer.close();
      await Promise.all(Object.values(kinds).map((kind) => kind.close()));
    },
  };
}
