import { parseAgentConfig } from "./agent-config.ts";
import { type AgentVersion, findAgentVersion } from "./agents-endpoint.ts";
import { invalidRequest, notFound } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import { asArray, asInteger, asObject, asOneOf, asString, isObject, type JsonObject } from "./field.ts";
import { optional, optionalString, readObject, stringMap, timestamp } from "./json-fields.ts";
import { PING } from "./message-events.ts";
import { pageByCursor } from "./paging.ts";
import { Session } from "./session.ts";
import { parseSessionEvents } from "./session-events.ts";
import { parseWishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";

const CREATE_KEYS: ReadonlySet<string> = new Set([
  ...["agent", "environment_id", "budget", "initial_events", "metadata", "resources", "title", "vault_ids"],
]);
const UPDATE_KEYS: ReadonlySet<string> = new Set(["agent", "budget", "metadata", "title", "vault_ids"]);
const PREVIEWS: ReadonlySet<unknown> = new Set(["event_start", "event_delta"]);
const LAST_EVENTS: ReadonlySet<unknown> = new Set(["session.deleted", "session.status_terminated"]);

export async function createSession(exchange: Exchange, state: SimulatorState): Promise<void> {
  const body = await readObject(exchange, CREATE_KEYS);
  const environmentId = asString(body.environment_id, "environment_id");
  state.environments.get(environmentId);
  const now = timestamp(exchange.clock.now());
  const initial = optional(body.initial_events, (value) => parseSessionEvents(value, "initial_events"));
  const session = new Session(state, {
    id: state.newId("sesn"),
    agent: parseAgent(body.agent, state),
    environmentId,
    title: optionalString(body.title, "title"),
    metadata: stringMap(body.metadata, "metadata"),
    resources: (optional(body.resources, (value) => asArray(value, "resources")) ?? []).map((entry, index) =>
      parseResource(entry, `resources.${index}`, state.newId("sesrsc"), now),
    ),
    vaultIds: parseVaults(body.vault_ids),
    budget: body.budget ?? null,
  });
  state.sessions.add(session);
  exchange.sendJson(200, sessionBody(session));
  if (initial) session.receive(initial, parseWishes(exchange.request.headers));
}

export function listSessions(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const archived = query.get("include_archived") === "true";
  const agentId = query.get("agent_id");
  const statuses = [...query.getAll("statuses[]"), ...query.getAll("statuses")];
  const sessions = state.sessions
    .list()
    .filter((session) => archived || session.archivedMs === null)
    .filter((session) => agentId === null || session.agent.id === agentId)
    .filter((session) => statuses.length === 0 || statuses.includes(session.status));
  if (query.get("order") === "asc") sessions.reverse();
  const page = pageByCursor(sessions, query, { maximum: 100 });
  exchange.sendJson(200, { ...page, data: page.data.map(sessionBody) });
}

export function getSession(exchange: Exchange, state: SimulatorState, id: string): void {
  exchange.sendJson(200, sessionBody(state.sessions.get(id)));
}

export async function updateSession(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const session = state.sessions.get(id);
  const body = await readObject(exchange, UPDATE_KEYS);
  if (body.title !== undefined) session.title = optionalString(body.title, "title");
  if (body.metadata !== undefined) session.metadata = stringMap(body.metadata, "metadata", session.metadata);
  if (body.vault_ids !== undefined) session.vaultIds = parseVaults(body.vault_ids);
  if (body.budget !== undefined) session.budget = body.budget;
  if (isObject(body.agent)) session.agent = { ...session.agent, ...parseAgentConfig(body.agent) };
  session.updatedMs = exchange.clock.now();
  const { title, metadata, budget } = session;
  session.emit({
    type: "session.updated",
    title,
    metadata,
    budget,
    agent: body.agent ? agentBody(session.agent) : null,
  });
  exchange.sendJson(200, sessionBody(session));
}

export function deleteSession(exchange: Exchange, state: SimulatorState, id: string): void {
  state.sessions.get(id).end("session.deleted");
  state.sessions.delete(id);
  exchange.sendJson(200, { id, type: "session_deleted" });
}

export function archiveSession(exchange: Exchange, state: SimulatorState, id: string): void {
  const session = state.sessions.get(id);
  if (session.archivedMs === null) {
    session.archivedMs = exchange.clock.now();
    session.end("session.status_terminated");
  }
  exchange.sendJson(200, sessionBody(session));
}

export async function sendEvents(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const session = state.sessions.get(id);
  const body = await readObject(exchange, new Set(["events"]));
  const events = parseSessionEvents(body.events, "events");
  if (session.status === "terminated") throw invalidRequest(`Session ${id} is terminated and takes no more events.`);
  exchange.sendJson(200, { data: session.receive(events, parseWishes(exchange.request.headers)) });
}

export function listEvents(exchange: Exchange, state: SimulatorState, id: string): void {
  const query = exchange.url.searchParams;
  const types = [...query.getAll("types[]"), ...query.getAll("types")];
  const events = state.sessions.get(id).events.filter((event) => types.length === 0 || types.includes(event.type));
  if (query.get("order") === "desc") events.reverse();
  const { data, next_page } = pageByCursor(events, query, { otherwise: 100 });
  exchange.sendJson(200, { data, next_page });
}

/** Server-sent events from now on, until the session ends or the client leaves. What was before is in the list. */
export async function streamEvents(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const session = state.sessions.get(id);
  const { response } = exchange;
  const query = exchange.url.searchParams;
  const previews = [...query.getAll("event_deltas[]"), ...query.getAll("event_deltas")].includes("agent.message");
  exchange.streamed = true;
  exchange.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  response.flushHeaders();
  const stop = session.subscribe((event) => {
    if (response.writableEnded || (PREVIEWS.has(event.type) && !previews)) return;
    response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    if (LAST_EVENTS.has(event.type)) response.end();
  });
  while (!exchange.closed) {
    await exchange.sleepUntil(exchange.clock.now() + state.pingMs);
    if (!response.writableEnded) response.write(PING);
  }
  stop();
}

export function listResources(exchange: Exchange, state: SimulatorState, id: string): void {
  const resources = state.sessions.get(id).resources.map((resource) => ({ ...resource, id: String(resource.id) }));
  const { data, next_page } = pageByCursor(resources, exchange.url.searchParams, { otherwise: 100 });
  exchange.sendJson(200, { data, next_page });
}

export async function addResource(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const session = state.sessions.get(id);
  const body = await readObject(exchange, new Set(["type", "file_id", "mount_path"]));
  const resource = parseResource(body, "body", state.newId("sesrsc"), timestamp(exchange.clock.now()));
  session.resources.push(resource);
  exchange.sendJson(200, resource);
}

export function getResource(exchange: Exchange, state: SimulatorState, id: string, resourceId: string): void {
  exchange.sendJson(200, findResource(state.sessions.get(id), resourceId));
}

export function deleteResource(exchange: Exchange, state: SimulatorState, id: string, resourceId: string): void {
  const session = state.sessions.get(id);
  const resource = findResource(session, resourceId);
  session.resources = session.resources.filter((entry) => entry !== resource);
  exchange.sendJson(200, { id: resourceId, type: "session_resource_deleted" });
}

function findResource(session: Session, id: string): JsonObject {
  const resource = session.resources.find((entry) => entry.id === id);
  if (!resource) throw notFound(`Resource not found: ${id}`);
  return resource;
}

/** An id, a certain version of it, or one with changes for this session alone. */
function parseAgent(value: unknown, state: SimulatorState): AgentVersion {
  if (value === undefined) throw invalidRequest("agent: Field required");
  if (typeof value === "string") return findAgentVersion(state, value, null);
  const given = asObject(value, "agent");
  const type = asOneOf(given.type, "agent.type", ["agent", "agent_with_overrides"]);
  const version = optional(given.version, (entry) => asInteger(entry, "agent.version", 1)) ?? null;
  const agent = findAgentVersion(state, asString(given.id, "agent.id"), version);
  if (agent.archived_at !== null) throw invalidRequest(`Agent ${agent.id} is archived.`);
  return type === "agent" ? agent : { ...agent, ...parseAgentConfig(given) };
}

function parseVaults(value: unknown): string[] {
  const vaults = optional(value, (given) => asArray(given, "vault_ids")) ?? [];
  return vaults.map((entry, index) => asString(entry, `vault_ids.${index}`));
}

function parseResource(value: unknown, path: string, id: string, now: string): JsonObject {
  const given = asObject(value, path);
  const type = asOneOf(given.type, `${path}.type`, ["file", "github_repository", "memory_store"]);
  if (type === "memory_store") return { ...given };
  // A repository's token is for the sandbox; no answer shows it.
  const { authorization_token: _, ...shown } = given;
  const of = type === "file" ? asString(given.file_id, `${path}.file_id`) : asString(given.url, `${path}.url`);
  const mount_path = given.mount_path ?? (type === "file" ? `/mnt/session/uploads/${of}` : "/workspace");
  return { ...shown, id, mount_path, created_at: now, updated_at: now };
}

function sessionBody(session: Session): object {
  return {
    id: session.id,
    type: "session",
    agent: agentBody(session.agent),
    environment_id: session.environmentId,
    status: session.status,
    title: session.title,
    metadata: session.metadata,
    resources: session.resources,
    vault_ids: session.vaultIds,
    budget: session.budget,
    outcome_evaluations: [],
    stats: {
      active_seconds: session.activeSeconds,
      duration_seconds: Math.round((session.updatedMs - session.createdMs) / 1_000),
    },
    usage: session.usage,
    created_at: timestamp(session.createdMs),
    updated_at: timestamp(session.updatedMs),
    archived_at: session.archivedMs === null ? null : timestamp(session.archivedMs),
  };
}

function agentBody(agent: AgentVersion): object {
  const { created_at: _, updated_at: __, archived_at: ___, metadata: ____, ...shown } = agent;
  return shown;
}
