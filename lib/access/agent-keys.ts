import { hash, randomBytes } from "node:crypto";
import { z } from "zod";
import type { Database } from "../database/database.ts";
import type { Clock } from "../kit/clock.ts";
import { AppError } from "../kit/errors.ts";
import { createId } from "../kit/ids.ts";
import type { SecretBox } from "../kit/secret-box.ts";
import { requireOrderedClasses } from "./call-class.ts";
import {
  Agent,
  AgentChange,
  AgentInput,
  AgentKey,
  type AgentSettings,
  DEFAULT_AGENT_SETTINGS,
  RotateInput,
} from "./schema.ts";

const StoredKey = AgentKey.extend({ hash: z.string() });
const StoredAgent = Agent.extend({ keys: z.array(StoredKey) });
type StoredAgent = z.infer<typeof StoredAgent>;
const PURPOSE = "agent-key";

/** Whose key a call brought. `id` is the agent's, which calls are recorded under. */
export type AgentIdentity = { id: string; name: string; settings: AgentSettings };

/** `secret` is shown here and never again. */
export type CreatedAgent = { agent: Agent; secret: string };

type LiveKey = { id: string; agent: AgentIdentity; expiresAtMs: number };

/**
 * Agents and their keys, `hr_…`. Only a keyed hash of a key is stored. All valid ones are held in memory, so that a call
 * never waits for the database; what another instance changes holds here from the next refresh on.
 */
export class AgentKeys {
  readonly #database: Database;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  #isLoaded = false;
  /** Changes made here, so that a reading that began before one does not undo it. */
  #changes = 0;
  #agents = new Map<string, AgentIdentity>();
  #byHash = new Map<string, LiveKey>();
  /** Valid keys that were used, by a plain digest: the keyed hash costs as much as all other work on a call's head. */
  #byDigest = new Map<string, LiveKey>();
  #usedAtMs = new Map<string, number>();

  constructor(options: { database: Database; box: SecretBox; clock: Clock }) {
    this.#database = options.database;
    this.#box = options.box;
    this.#clock = options.clock;
  }

  /** False until the agents were read once: a key that is not found may yet be a good one. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** Writes when each key was last used, and reads all agents. */
  async refresh(): Promise<void> {
    await this.#writeUsed();
    let agents: StoredAgent[];
    let changes: number;
    do {
      changes = this.#changes;
      agents = await this.#readAgents();
    } while (changes !== this.#changes);
    this.#agents = new Map();
    this.#byHash = new Map();
    this.#byDigest = new Map();
    for (const agent of agents) this.#hold(agent);
    this.#isLoaded = true;
  }

  /** Whose key it is; null for one that is unknown, was revoked, or was replaced and has had its time. */
  find(secret: string): AgentIdentity | null {
    const digest = hash("sha256", secret, "base64");
    const key = this.#byDigest.get(digest) ?? this.#byHash.get(this.#box.hash(secret, PURPOSE));
    if (!key) return null;
    const nowMs = this.#clock.now();
    if (key.expiresAtMs <= nowMs) return null;
    this.#byDigest.set(digest, key);
    this.#usedAtMs.set(key.id, nowMs);
    return key.agent;
  }

  /** A valid agent by its id, as memory has it. */
  get(agentId: string): AgentIdentity | null {
    return this.#agents.get(agentId) ?? null;
  }

  /** Newest first, revoked ones too. */
  async list(): Promise<Agent[]> {
    return (await this.#readAgents()).map(shown);
  }

  /** Makes an agent with its first key. Throws `conflict` when the name is taken. */
  async create(input: AgentInput): Promise<CreatedAgent> {
    const { name, ...given } = AgentInput.parse(input);
    const settings = { ...DEFAULT_AGENT_SETTINGS, ...given };
    requireOrderedClasses(settings);
    const { secret, key } = this.#makeKey();
    const agent: StoredAgent = {
      ...{ id: createId(this.#clock.now()), name, settings, createdAt: key.createdAt },
      ...{ revokedAt: null, lastUsedAt: null, keys: [key] },
    };
    await this.#unlessTaken(name, this.#database.call("agents_create", { agent: { ...agent, key } }, z.unknown()));
    this.#hold(agent);
    return { agent: shown(agent), secret };
  }

  /** Changes what is given. Throws `not_found`, and `conflict` when the new name is taken. */
  async update(agentId: string, input: AgentChange): Promise<Agent> {
    const { name, ...settings } = AgentChange.parse(input);
    const known = (await this.#readAgents()).find((agent) => agent.id === agentId && agent.revokedAt === null);
    if (!known) throw notFound();
    requireOrderedClasses({ ...known.settings, ...settings });
    const change = { agent_id: agentId, change: { name, settings } };
    return this.#changed(
      await this.#unlessTaken(name ?? "", this.#database.call("agents_update", change, StoredAgent.nullable())),
    );
  }

  /** A new key. The one before it stays valid for the overlap, so that programs can change over one by one. */
  async rotate(agentId: string, input: z.input<typeof RotateInput> = {}): Promise<CreatedAgent> {
    const { overlapHours } = RotateInput.parse(input);
    const { secret, key } = this.#makeKey();
    const args = { agent_id: agentId, agent_key: key, overlap_seconds: Math.round(overlapHours * 3600) };
    const agent = this.#changed(await this.#database.call("agents_rotate", args, StoredAgent.nullable()));
    return { agent, secret };
  }

  /** Ends an agent with all its keys. Its name is free again; its calls keep it. Throws `not_found`. */
  async revoke(agentId: string): Promise<void> {
    const answer = z.object({ revoked: z.boolean() });
    const { revoked } = await this.#database.call("agents_revoke", { agent_id: agentId }, answer);
    if (!revoked) throw notFound();
    this.#drop(agentId);
  }

  async #readAgents(): Promise<StoredAgent[]> {
    const { agents } = await this.#database.call("agents_list", {}, z.object({ agents: z.array(StoredAgent) }));
    return agents;
  }

  async #writeUsed(): Promise<void> {
    const used = this.#usedAtMs;
    if (used.size === 0) return;
    this.#usedAtMs = new Map();
    const keys = [...used].map(([id, atMs]) => ({ id, lastUsedAt: new Date(atMs).toISOString() }));
    await this.#database.call("agent_keys_used", { keys }, z.unknown()).catch((error: unknown) => {
      this.#usedAtMs = new Map([...used, ...this.#usedAtMs]);
      throw error;
    });
  }

  #makeKey() {
    const nowMs = this.#clock.now();
    const secret = `hr_${randomBytes(24).toString("base64url")}`;
    const key: z.infer<typeof StoredKey> = {
      ...{ id: createId(nowMs), prefix: secret.slice(0, 9), hash: this.#box.hash(secret, PURPOSE) },
      ...{ createdAt: new Date(nowMs).toISOString(), expiresAt: null, lastUsedAt: null },
    };
    return { secret, key };
  }

  #changed(agent: StoredAgent | null): Agent {
    if (!agent) throw notFound();
    this.#drop(agent.id);
    this.#hold(agent);
    return shown(agent);
  }

  #hold(stored: StoredAgent): void {
    this.#changes += 1;
    if (stored.revokedAt !== null) return;
    const agent = { id: stored.id, name: stored.name, settings: stored.settings };
    this.#agents.set(agent.id, agent);
    for (const { id, hash, expiresAt } of stored.keys) {
      const expiresAtMs = expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(expiresAt);
      this.#byHash.set(hash, { id, agent, expiresAtMs });
    }
  }

  #drop(agentId: string): void {
    this.#changes += 1;
    this.#agents.delete(agentId);
    for (const keys of [this.#byHash, this.#byDigest]) {
      for (const [index, key] of keys) if (key.agent.id === agentId) keys.delete(index);
    }
  }

  async #unlessTaken<T>(name: string, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "conflict") throw error;
      throw new AppError("conflict", `There is an agent named ${name} already: revoke it or take another name.`);
    }
  }
}

/** Without hashes: parsing drops what the schema does not name. */
function shown(agent: StoredAgent): Agent {
  return Agent.parse(agent);
}

function notFound(): AppError {
  return new AppError("not_found", "There is no agent with this id that is still valid.");
}
