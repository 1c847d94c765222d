import type { Database } from "../../database/database.ts";
import type { SecretBox } from "../../kit/secret-box.ts";
import type { ChannelKinds } from "../channels/registry.ts";
import type { Deliverer } from "../deliver.ts";
import type { AlertEngine } from "../engine.ts";

/** What the verbs of alerting need. Each takes it first, and its parsed input second. */
export type AlertsContext = {
  database: Database;
  secretBox: SecretBox;
  kinds: ChannelKinds;
  engine: AlertEngine;
  deliverer: Deliverer;
};
