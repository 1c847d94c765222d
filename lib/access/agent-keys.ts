import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { Database } from "../database/database.ts";
import type { Clock } from "../kit/clock.ts";
import { AppError } from "../kit/errors.ts";
import { createId } from "../kit/ids.ts";
import type { SecretBox } from "../kit/secret-box.ts";
import { AgentInput, AgentKey } from "./schema.ts";

const Stored = AgentKey.extend({ hash: z.string() });
type Stored = z.infer<typeof Stored>;
const PURPOSE = "agent-key";

/**
 * Headroom's own keys for agents, `hr_…`. Only a keyed hash is stored. All of them are held in memory, so that a call
 * never waits for the database; a key revoked elsewhere stops with the next refresh.
 */
export class AgentKeys {
  readonly #database: Database;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  #byHash = new Map<string, Stored>();
  #used = new Map<string, string>();

  constructor(options: { database: Database; box: SecretBox; clock: Clock }) {
    this.#database = options.database;
    this.#box = options.box;
    this.#clock = options.clock;
  }

  /** Reads all keys, and writes when each was last used. */
  async refresh(): Promise<void> {
    if (this.#used.size > 0) {
      const keys = [...this.#used].map(([id, lastUsedAt]) => ({ id, lastUsedAt }));
      this.#used = new Map();
      await this.#database.call("agent_keys_used", { keys }, z.unknown());
    }
    const { keys } = await this.#database.call("agent_keys_list", {}, z.object({ keys: z.array(Stored) }));
    this.#byHash = new Map(keys.filter((key) => key.revokedAt === null).map((key) => [key.hash, key]));
  }

  /** Whose key it is; null for an unknown or revoked one. */
  find(secret: string): { id: string; name: string } | null {
    const key = this.#byHash.get(this.#box.hash(secret, PURPOSE));
    if (!key) return null;
    this.#used.set(key.id, new Date(this.#clock.now()).toISOString());
    return { id: key.id, name: key.name };
  }

  async list(): Promise<AgentKey[]> {
    const { keys } = await this.#database.call("agent_keys_list", {}, z.object({ keys: z.array(AgentKey) }));
    return keys;
  }

  /** Makes a key; the secret is in this answer and nowhere afterwards. Throws `conflict` when the name is taken. */
  async create(input: AgentInput): Promise<{ agent: AgentKey; secret: string }> {
    const { name } = AgentInput.parse(input);
    const secret = `hr_${randomBytes(24).toString("base64url")}`;
    const agent: AgentKey = {
      id: createId(this.#clock.now()),
      name,
      prefix: secret.slice(0, 9),
      createdAt: new Date(this.#clock.now()).toISOString(),
      revokedAt: null,
      lastUsedAt: null,
    };
    const stored: Stored = { ...agent, hash: this.#box.hash(secret, PURPOSE) };
    try {
      await this.#database.call("agent_keys_create", { agent_key: stored }, z.unknown());
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "conflict") throw error;
      throw new AppError("conflict", `There is an agent named ${name} already: revoke its key or take another name.`);
    }
    this.#byHash.set(stored.hash, stored);
    return { agent, secret };
  }

  /** Throws `not_found`. */
  async revoke(id: string): Promise<void> {
    const { revoked } = await this.#database.call(
      "agent_keys_revoke",
      { key_id: id },
      z.object({ revoked: z.boolean() }),
    );
    if (!revoked) throw new AppError("not_found", "There is no agent key with this id that is still valid.");
    for (const [hash, key] of this.#byHash) if (key.id === id) this.#byHash.delete(hash);
  }
}
