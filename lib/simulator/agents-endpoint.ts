import { type AgentConfig, parseAgentConfig } from "./agent-config.ts";
import { ApiError, invalidRequest, notFound } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { asInteger, asString } from "./field.ts";
import { optional, optionalString, readObject, stringMap, timestamp } from "./json-fields.ts";
import { pageByCursor } from "./paging.ts";
import { wireId } from "./seeded.ts";
import type { SimulatorState } from "./simulator-state.ts";

/** One version of an agent, in the shape of `GET /v1/agents/{id}`. */
export type AgentVersion = AgentConfig & {
  id: string;
  type: "agent";
  version: number;
  name: string;
  description: string | null;
  metadata: Record<string, string>;
  multiagent: unknown;
  execution_identity: unknown;
  created_at: string;
  updated_at: string;
  archived_at: string | null;
};

/** An agent with all its versions, newest first. */
export type Agent = { id: string; versions: AgentVersion[] };

const CREATE_KEYS: ReadonlySet<string> = new Set([
  ...["model", "name", "description", "execution_identity", "mcp_servers", "metadata", "multiagent", "skills"],
  ...["system", "tools"],
]);
const UPDATE_KEYS: ReadonlySet<string> = new Set([...CREATE_KEYS, "version"]);

export async function createAgent(exchange: Exchange, state: SimulatorState): Promise<void> {
  const body = await readObject(exchange, CREATE_KEYS);
  const config = parseAgentConfig(body);
  const created = timestamp(exchange.clock.now());
  const agent: AgentVersion = {
    id: wireId("agent", state.ids),
    type: "agent",
    version: 1,
    name: asString(body.name, "name"),
    description: optionalString(body.description, "description"),
    model: config.model ?? missingModel(),
    system: config.system ?? null,
    tools: config.tools ?? [],
    mcp_servers: config.mcp_servers ?? [],
    skills: config.skills ?? [],
    metadata: stringMap(body.metadata, "metadata"),
    multiagent: body.multiagent ?? null,
    execution_identity: body.execution_identity ?? { type: "service_account" },
    created_at: created,
    updated_at: created,
    archived_at: null,
  };
  state.agents.add({ id: agent.id, versions: [agent] });
  exchange.sendJson(200, agent);
}

export function listAgents(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const archived = query.get("include_archived") === "true";
  const agents = state.agents.list().map(latestOf);
  const { data, next_page } = pageByCursor(
    agents.filter((agent) => archived || agent.archived_at === null),
    query,
    { maximum: 100 },
  );
  exchange.sendJson(200, { data, next_page });
}

export function getAgent(exchange: Exchange, state: SimulatorState, id: string): void {
  const version = exchange.url.searchParams.get("version");
  exchange.sendJson(200, findAgentVersion(state, id, version === null ? null : Number(version)));
}

/** Every update makes a version. One that names the version it was made from fails when that is no longer the last. */
export async function updateAgent(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const body = await readObject(exchange, UPDATE_KEYS);
  const agent = state.agents.get(id);
  const latest = latestOf(agent);
  if (latest.archived_at !== null) throw invalidRequest(`Agent ${id} is archived.`);
  const expected = optional(body.version, (value) => asInteger(value, "version", 1));
  if (expected !== undefined && expected !== latest.version) {
    throw new ApiError(409, "invalid_request_error", `Agent ${id} is at version ${latest.version}, not ${expected}.`, {
      shouldRetry: false,
    });
  }
  const next: AgentVersion = {
    ...latest,
    ...parseAgentConfig(body),
    name: optional(body.name, (value) => asString(value, "name")) ?? latest.name,
    metadata: stringMap(body.metadata, "metadata", latest.metadata),
    version: latest.version + 1,
    updated_at: timestamp(exchange.clock.now()),
  };
  if (body.description !== undefined) next.description = optionalString(body.description, "description");
  if (body.multiagent !== undefined) next.multiagent = body.multiagent;
  if (body.execution_identity) next.execution_identity = body.execution_identity;
  agent.versions.unshift(next);
  exchange.sendJson(200, next);
}

export function archiveAgent(exchange: Exchange, state: SimulatorState, id: string): void {
  const latest = latestOf(state.agents.get(id));
  latest.archived_at ??= timestamp(exchange.clock.now());
  exchange.sendJson(200, latest);
}

export function listAgentVersions(exchange: Exchange, state: SimulatorState, id: string): void {
  const versions = state.agents.get(id).versions.map((agent) => ({ id: `${agent.id} ${agent.version}`, agent }));
  const { data, next_page } = pageByCursor(versions, exchange.url.searchParams, { maximum: 100 });
  exchange.sendJson(200, { data: data.map(({ agent }) => agent), next_page });
}

/** The last version, or a certain one. Throws ApiError 404. */
export function findAgentVersion(state: SimulatorState, id: string, version: number | null): AgentVersion {
  const agent = state.agents.get(id);
  const found = version === null ? latestOf(agent) : agent.versions.find((entry) => entry.version === version);
  if (!found) throw notFound(`Agent not found: ${id} at version ${version}`);
  return found;
}

function latestOf(agent: Agent): AgentVersion {
  const [latest] = agent.versions;
  if (!latest) throw notFound(`Agent not found: ${agent.id}`);
  return latest;
}

function missingModel(): never {
  throw invalidRequest("model: Field required");
}
