import { z } from "zod";
import type { Database } from "../database/database.ts";
import { DEFAULT_GATEWAY_SETTINGS, GatewaySettings, GatewaySettingsChange } from "./schema.ts";

/** The row of `settings_get` that holds them. */
const NAME = "gateway";
const Stored = z.object({ settings: z.object({ [NAME]: z.unknown().optional() }).loose() });

type Listener = (settings: GatewaySettings) => void;

/**
 * What operators set for the whole gateway, held in memory. What another instance sets holds from the next refresh.
 * Readings and changes take turns, so that an old reading never undoes a change, nor one change another.
 */
export class GatewaySettingsStore {
  readonly #database: Database;
  readonly #listeners: Listener[] = [];
  #current: GatewaySettings = DEFAULT_GATEWAY_SETTINGS;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: { database: Database }) {
    this.#database = options.database;
  }

  get current(): GatewaySettings {
    return this.#current;
  }

  /** Tells the settings as they are, and again whenever they were read or changed. */
  follow(listener: Listener): void {
    this.#listeners.push(listener);
    listener(this.#current);
  }

  refresh(): Promise<GatewaySettings> {
    return this.#inTurn(() => this.#read());
  }

  /** Changes what is given and leaves the rest as it is. */
  async update(input: GatewaySettingsChange): Promise<GatewaySettings> {
    const change = GatewaySettingsChange.parse(input);
    return this.#inTurn(async () => {
      const value = { ...(await this.#read()), ...change };
      return this.#hold(await this.#database.call("settings_set", { name: NAME, value }, Stored));
    });
  }

  async #read(): Promise<GatewaySettings> {
    return this.#hold(await this.#database.call("settings_get", {}, Stored));
  }

  #hold(stored: z.infer<typeof Stored>): GatewaySettings {
    this.#current = parse(stored);
    for (const listener of this.#listeners) listener(this.#current);
    return this.#current;
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(work, work);
    this.#last = turn;
    return turn;
  }
}

/** What an older or newer version stored does not keep the gateway from starting: it gives way to the default. */
function parse({ settings }: z.infer<typeof Stored>): GatewaySettings {
  const parsed = GatewaySettings.partial().safeParse(settings[NAME] ?? {});
  return GatewaySettings.parse({ ...DEFAULT_GATEWAY_SETTINGS, ...(parsed.success ? parsed.data : {}) });
}
