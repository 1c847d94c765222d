import { z } from "zod";
import type { Database } from "../database/database.ts";
import { DEFAULT_GATEWAY_SETTINGS, GatewaySettings, GatewaySettingsChange } from "./schema.ts";

/** The row of `settings_get` that holds them. */
const NAME = "gateway";
const Stored = z.object({ settings: z.object({ [NAME]: z.unknown().optional() }).loose() });

/** What operators set for the whole gateway, held in memory. What another instance sets holds from the next refresh. */
export class GatewaySettingsStore {
  readonly #database: Database;
  #current: GatewaySettings = DEFAULT_GATEWAY_SETTINGS;

  constructor(options: { database: Database }) {
    this.#database = options.database;
  }

  get current(): GatewaySettings {
    return this.#current;
  }

  async refresh(): Promise<GatewaySettings> {
    this.#current = parse(await this.#database.call("settings_get", {}, Stored));
    return this.#current;
  }

  /** Changes what is given and leaves the rest as it is. */
  async update(input: GatewaySettingsChange): Promise<GatewaySettings> {
    const value = { ...(await this.refresh()), ...GatewaySettingsChange.parse(input) };
    this.#current = parse(await this.#database.call("settings_set", { name: NAME, value }, Stored));
    return this.#current;
  }
}

/** What an older or newer version stored does not keep the gateway from starting: it gives way to the default. */
function parse({ settings }: z.infer<typeof Stored>): GatewaySettings {
  const parsed = GatewaySettings.partial().safeParse(settings[NAME] ?? {});
  return GatewaySettings.parse({ ...DEFAULT_GATEWAY_SETTINGS, ...(parsed.success ? parsed.data : {}) });
}
