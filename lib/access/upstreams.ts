import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Database } from "../database/database.ts";
import { AppError } from "../kit/errors.ts";
import { createId } from "../kit/ids.ts";
import type { SecretBox } from "../kit/secret-box.ts";
import {
  DEFAULT_UPSTREAM,
  Upstream,
  UpstreamChange,
  UpstreamInput,
  type UpstreamKind,
  type UpstreamTest,
} from "./schema.ts";
import { testUpstream } from "./upstream-test.ts";

const StoredUpstream = Upstream.omit({ builtIn: true, fault: true }).extend({ secret: z.string() });
type StoredUpstream = z.infer<typeof StoredUpstream>;
const PURPOSE = "upstream";

/** A credential that calls, or an admin's questions, can go out with. Not for logs, rows or pages. */
export type UpstreamCredential = { id: string; name: string; kind: UpstreamKind; baseUrl: string; apiKey: string };

/** What the environment gives: it comes first, is named `default`, and is changed where Headroom is started. */
export type BuiltInUpstream = { baseUrl: string; apiKey: string | null };

/**
 * The credentials of upstreams. Keys are sealed at rest with the master key, which the database does not have; opened
 * ones are in this process's memory alone. What is shown of a key is how it begins and ends.
 */
export class Upstreams {
  readonly #database: Database;
  readonly #box: SecretBox;
  readonly #builtIn: BuiltInUpstream;
  #credentials: readonly UpstreamCredential[];
  #callable: readonly UpstreamCredential[];

  constructor(options: { database: Database; box: SecretBox; builtIn: BuiltInUpstream }) {
    this.#database = options.database;
    this.#box = options.box;
    this.#builtIn = options.builtIn;
    this.#credentials = this.#withBuiltIn([]);
    this.#callable = this.#credentials;
  }

  /** Those that are enabled and can be used, the environment's own first; as of the last refresh. */
  get credentials(): readonly UpstreamCredential[] {
    return this.#credentials;
  }

  /** Those of them that messages can go out with: another array exactly when something has changed. */
  get callable(): readonly UpstreamCredential[] {
    return this.#callable;
  }

  async refresh(): Promise<void> {
    const stored = await this.#read();
    const credentials = stored.flatMap((upstream) => {
      const apiKey = upstream.enabled ? this.#open(upstream) : null;
      const { id, name, kind, baseUrl } = upstream;
      return apiKey === null ? [] : [{ id, name, kind, baseUrl, apiKey }];
    });
    this.#credentials = this.#withBuiltIn(credentials);
    const callable = this.#credentials.filter(({ kind }) => kind === "api");
    if (!isDeepStrictEqual(callable, this.#callable)) this.#callable = callable;
  }

  /** The environment's own first, then in the order they were made. */
  async list(): Promise<Upstream[]> {
    const { baseUrl, apiKey } = this.#builtIn;
    const builtIn: Upstream = {
      ...{ id: DEFAULT_UPSTREAM, name: DEFAULT_UPSTREAM, kind: "api", baseUrl, enabled: true, builtIn: true },
      maskedKey: apiKey === null ? null : maskKey(apiKey),
      fault: null,
      ...{ createdAt: null, updatedAt: null },
    };
    return [builtIn, ...(await this.#read()).map((upstream) => this.#shown(upstream))];
  }

  /** Throws `conflict` when the name is taken. */
  async create(input: z.input<typeof UpstreamInput>): Promise<Upstream> {
    const { apiKey, ...upstream } = UpstreamInput.parse(input);
    requireKind(upstream.kind, apiKey);
    const row = { id: createId(), ...upstream, ...this.#sealed(apiKey) };
    const call = this.#database.call("upstreams_create", { upstream: row }, StoredUpstream);
    return this.#stored(await unlessTaken(upstream.name, call));
  }

  /** Changes what is given. Throws `not_found`, `conflict`, and `invalid_input` for the environment's own. */
  async update(id: string, input: z.input<typeof UpstreamChange>): Promise<Upstream> {
    const { apiKey, ...change } = UpstreamChange.parse(input);
    const known = await this.#get(id);
    if (apiKey !== undefined) requireKind(known.kind, apiKey);
    // A key must not follow to another host just because somebody can write the address.
    if (change.baseUrl !== undefined && apiKey === undefined && !sameOrigin(change.baseUrl, known.baseUrl)) {
      throw new AppError("invalid_input", "baseUrl: another host needs its key entered again: send apiKey as well.");
    }
    const row = { ...change, ...(apiKey === undefined ? {} : this.#sealed(apiKey)) };
    const call = this.#database.call("upstreams_update", { upstream_id: id, change: row }, StoredUpstream.nullable());
    const updated = await unlessTaken(change.name ?? "", call);
    if (!updated) throw notFound();
    return this.#stored(updated);
  }

  /** Throws `not_found`, and `invalid_input` for the environment's own. */
  async delete(id: string): Promise<void> {
    requireOwn(id);
    const answer = z.object({ deleted: z.boolean() });
    const { deleted } = await this.#database.call("upstreams_delete", { upstream_id: id }, answer);
    if (!deleted) throw notFound();
    await this.refresh();
  }

  /** Makes a real request with its key: the list of models, or the organisation's limits for an admin key. */
  async test(id: string): Promise<UpstreamTest> {
    if (id === DEFAULT_UPSTREAM) {
      const { baseUrl, apiKey } = this.#builtIn;
      if (apiKey !== null) return testUpstream({ kind: "api", baseUrl, apiKey });
      const message = "There is no key to test: set ANTHROPIC_API_KEY where Headroom runs, and restart it.";
      return { ok: false, status: null, latencyMs: 0, message };
    }
    const upstream = await this.#get(id);
    const apiKey = this.#open(upstream);
    if (apiKey === null) return { ok: false, status: null, latencyMs: 0, message: UNREADABLE };
    return testUpstream({ kind: upstream.kind, baseUrl: upstream.baseUrl, apiKey });
  }

  #withBuiltIn(others: UpstreamCredential[]): UpstreamCredential[] {
    const { baseUrl, apiKey } = this.#builtIn;
    const first = { id: DEFAULT_UPSTREAM, name: DEFAULT_UPSTREAM, kind: "api" as const, baseUrl };
    return apiKey === null ? others : [{ ...first, apiKey }, ...others];
  }

  async #read(): Promise<StoredUpstream[]> {
    const answer = z.object({ upstreams: z.array(StoredUpstream) });
    return (await this.#database.call("upstreams_list", {}, answer)).upstreams;
  }

  async #get(id: string): Promise<StoredUpstream> {
    requireOwn(id);
    const found = (await this.#read()).find((upstream) => upstream.id === id);
    if (!found) throw notFound();
    return found;
  }

  async #stored(upstream: StoredUpstream): Promise<Upstream> {
    await this.refresh();
    return this.#shown(upstream);
  }

  #shown(upstream: StoredUpstream): Upstream {
    const fault = this.#open(upstream) === null ? UNREADABLE : null;
    return Upstream.parse({ ...upstream, builtIn: false, fault });
  }

  #sealed(apiKey: string) {
    return { secret: this.#box.seal(apiKey, PURPOSE), maskedKey: maskKey(apiKey) };
  }

  /** Null when it was sealed under another master key, or changed. */
  #open({ secret }: StoredUpstream): string | null {
    try {
      return this.#box.open(secret, PURPOSE);
    } catch {
      return null;
    }
  }
}

const UNREADABLE = "Its key was sealed with another HEADROOM_SECRET_KEY: enter the key again.";

/** `sk-ant-…x4Qb`: enough to tell keys apart, too little to guess one. */
export function maskKey(key: string): string {
  const prefix = key.startsWith("sk-ant-admin") ? "sk-ant-admin" : key.startsWith("sk-ant-") ? "sk-ant-" : "";
  return `${prefix}…${key.length - prefix.length >= 16 ? key.slice(-4) : ""}`;
}

function requireKind(kind: UpstreamKind, apiKey: string): void {
  const isAdmin = apiKey.startsWith("sk-ant-admin");
  if (kind === "api" && isAdmin) {
    throw new AppError("invalid_input", "apiKey: this is an admin key, which sends no messages: choose kind admin.");
  }
  if (kind === "admin" && !isAdmin) {
    throw new AppError("invalid_input", "apiKey: an admin key begins with sk-ant-admin: this one does not.");
  }
}

function requireOwn(id: string): void {
  if (id !== DEFAULT_UPSTREAM) return;
  throw new AppError(
    "invalid_input",
    "The upstream default comes from ANTHROPIC_API_KEY and HEADROOM_UPSTREAM_URL: change them and restart Headroom.",
  );
}

function sameOrigin(a: string, b: string): boolean {
  return new URL(a).origin === new URL(b).origin;
}

async function unlessTaken<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "conflict") throw error;
    throw new AppError("conflict", `There is an upstream named ${name} already: take another name.`);
  }
}

function notFound(): AppError {
  return new AppError("not_found", "There is no upstream with this id.");
}
