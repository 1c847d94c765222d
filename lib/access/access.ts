import { z } from "zod";
import type { Database } from "../database/database.ts";
import type { Clock } from "../kit/clock.ts";
import type { SecretBox } from "../kit/secret-box.ts";
import { AgentGuard } from "./agent-guard.ts";
import { AgentKeys } from "./agent-keys.ts";
import { GatewaySettingsStore } from "./gateway-settings.ts";
import { type BuiltInUpstream, Upstreams } from "./upstreams.ts";

const Spend = z.object({ spend: z.array(z.object({ agentId: z.uuid(), day: z.string(), costNanoUsd: z.int() })) });

/** Who may call, with what, and how much; held in memory and kept in step with the database. */
export type Access = {
  agentKeys: AgentKeys;
  guard: AgentGuard;
  upstreams: Upstreams;
  settings: GatewaySettingsStore;
  /** What a call cannot be judged without. Before the first call, if the database is there. */
  load(): Promise<void>;
  /**
   * All that other instances may have changed, and what agents have spent. Its first time must come after everything
   * that an earlier process recorded has reached the database: budgets hold from then on.
   */
  refresh(): Promise<void>;
};

export function createAccess(options: {
  database: Database;
  box: SecretBox;
  clock: Clock;
  builtIn: BuiltInUpstream;
}): Access {
  const { database, box, clock, builtIn } = options;
  const agentKeys = new AgentKeys({ database, box, clock });
  const guard = new AgentGuard({ agents: agentKeys });
  const upstreams = new Upstreams({ database, box, builtIn });
  const settings = new GatewaySettingsStore({ database });
  const load = async () => {
    await agentKeys.refresh();
    await upstreams.refresh();
    await settings.refresh();
  };
  return {
    ...{ agentKeys, guard, upstreams, settings, load },
    async refresh() {
      await load();
      const now = new Date(clock.now());
      const since = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1)).toISOString();
      guard.learnSpend((await database.call("agents_spend", { since }, Spend)).spend);
    },
  };
}
