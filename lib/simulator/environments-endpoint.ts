import { ApiError } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { asArray, asObject, asOneOf, asString, type JsonObject } from "./field.ts";
import { optional, optionalString, readObject, stringMap, timestamp } from "./json-fields.ts";
import { pageByCursor } from "./paging.ts";
import { wireId } from "./seeded.ts";
import type { SimulatorState } from "./simulator-state.ts";

/** In the shape of `GET /v1/environments/{id}`. */
export type Environment = {
  id: string;
  type: "environment";
  name: string;
  description: string | null;
  config: JsonObject;
  metadata: Record<string, string>;
  scope: "organization" | "account";
  created_at: string;
  updated_at: string;
  archived_at: string | null;
};

const KEYS: ReadonlySet<string> = new Set(["name", "config", "description", "metadata", "scope"]);
const PACKAGE_MANAGERS = ["apt", "cargo", "gem", "go", "npm", "pip"];

export async function createEnvironment(exchange: Exchange, state: SimulatorState): Promise<void> {
  const body = await readObject(exchange, KEYS);
  const created = timestamp(exchange.clock.now());
  const environment: Environment = {
    id: wireId("env", state.ids),
    type: "environment",
    name: asString(body.name, "name"),
    description: null,
    config: parseConfig(body.config ?? { type: "cloud" }),
    metadata: {},
    scope: "organization",
    created_at: created,
    updated_at: created,
    archived_at: null,
  };
  exchange.sendJson(200, state.environments.add({ ...environment, ...changesOf(body, environment) }));
}

export async function updateEnvironment(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const body = await readObject(exchange, KEYS);
  const environment = state.environments.get(id);
  if (environment.archived_at !== null) {
    throw new ApiError(400, "invalid_request_error", `Environment ${id} is archived.`, {
      errorCode: "environment_archived",
    });
  }
  const config = optional(body.config, parseConfig);
  if (config && config.type !== environment.config.type) {
    throw new ApiError(400, "invalid_request_error", "The type of an environment's config cannot be changed.", {
      errorCode: "invalid_config_type_change",
    });
  }
  const changes = { ...changesOf(body, environment), ...(config ? { config } : {}) };
  Object.assign(environment, changes, { updated_at: timestamp(exchange.clock.now()) });
  exchange.sendJson(200, environment);
}

export function listEnvironments(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const archived = query.get("include_archived") === "true";
  const environments = state.environments.list().filter((entry) => archived || entry.archived_at === null);
  const { data, next_page } = pageByCursor(environments, query, { maximum: 100 });
  exchange.sendJson(200, { data, next_page });
}

export function getEnvironment(exchange: Exchange, state: SimulatorState, id: string): void {
  exchange.sendJson(200, state.environments.get(id));
}

export function deleteEnvironment(exchange: Exchange, state: SimulatorState, id: string): void {
  state.environments.get(id);
  state.environments.delete(id);
  exchange.sendJson(200, { id, type: "environment_deleted" });
}

export function archiveEnvironment(exchange: Exchange, state: SimulatorState, id: string): void {
  const environment = state.environments.get(id);
  environment.archived_at ??= timestamp(exchange.clock.now());
  exchange.sendJson(200, environment);
}

function changesOf(body: JsonObject, environment: Environment): Partial<Environment> {
  const changes: Partial<Environment> = {};
  if (body.name !== undefined && body.name !== null) changes.name = asString(body.name, "name");
  if (body.description !== undefined) changes.description = optionalString(body.description, "description");
  if (body.metadata !== undefined) changes.metadata = stringMap(body.metadata, "metadata", environment.metadata);
  const scope = optional(body.scope, (value) => asOneOf(value, "scope", ["organization", "account"] as const));
  if (scope) changes.scope = scope;
  return changes;
}

/** What is left out is filled in, as the API answers with all of it. */
function parseConfig(value: unknown): JsonObject {
  const config = asObject(value, "config");
  const type = asOneOf(config.type, "config.type", ["cloud", "self_hosted"]);
  if (type === "self_hosted") return { type };
  const packages = optional(config.packages, (given) => asObject(given, "config.packages")) ?? {};
  const named = PACKAGE_MANAGERS.map((manager) => {
    const list = optional(packages[manager], (given) => asArray(given, `config.packages.${manager}`));
    return [manager, list ?? []];
  });
  return {
    type,
    networking: parseNetworking(config.networking ?? { type: "unrestricted" }),
    packages: { type: "packages", ...Object.fromEntries(named) },
  };
}

function parseNetworking(value: unknown): JsonObject {
  const networking = asObject(value, "config.networking");
  const type = asOneOf(networking.type, "config.networking.type", ["unrestricted", "limited"]);
  if (type === "unrestricted") return { type };
  return {
    type,
    allow_mcp_servers: networking.allow_mcp_servers ?? false,
    allow_package_managers: networking.allow_package_managers ?? false,
    allowed_hosts: networking.allowed_hosts ?? [],
  };
}
