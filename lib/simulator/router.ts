import * as agents from "./agents-endpoint.ts";
import { ApiError, methodNotAllowed, notFound } from "./api-error.ts";
import { parseBetas, parseVersion } from "./api-version.ts";
import * as batches from "./batches-endpoint.ts";
import { createChatCompletion } from "./chat-completions-endpoint.ts";
import { createCompletion } from "./complete-endpoint.ts";
import * as environments from "./environments-endpoint.ts";
import type { Exchange } from "./exchange.ts";
import { refusalOf } from "./faults.ts";
import * as files from "./files-endpoint.ts";
import { countTokens, createMessage } from "./messages-endpoint.ts";
import { getModel, listModels } from "./models-endpoint.ts";
import { exceeds } from "./rate-limit-refusal.ts";
import { listRateLimits } from "./rate-limits-endpoint.ts";
import { reportCosts, reportUsage } from "./reports-endpoint.ts";
import * as sessions from "./sessions-endpoint.ts";
import { parseWishes } from "./simulator-headers.ts";
import type { SimulatorState } from "./simulator-state.ts";
import * as skills from "./skills-endpoint.ts";
import type { Surface } from "./surfaces.ts";
import * as profiles from "./user-profiles-endpoint.ts";

type Handler = (exchange: Exchange, state: SimulatorState, ...ids: string[]) => void | Promise<void>;
type Route = {
  path: RegExp;
  methods: Record<string, Handler | undefined>;
  /** Whose limit on requests each call counts against. */
  surface?: (method: string) => Surface;
  /** A beta that the caller has to ask for. */
  beta?: string;
};

const route = (path: string, methods: Route["methods"], extra: Omit<Route, "path" | "methods"> = {}): Route => ({
  path: new RegExp(`^${path.replaceAll("*", "([^/]+)")}$`),
  methods,
  ...extra,
});

const BATCHES = { surface: () => "batches" as const };
const FILES = { surface: () => "files" as const };
const SKILLS = { surface: () => "skills" as const };
/** Managed agents: what is made is limited more tightly than what is read. */
const MANAGED = {
  surface: (method: string) => (method === "GET" ? ("agents_read" as const) : ("agents_create" as const)),
  beta: "managed-agents-2026-04-01",
};

/** Where a model answers; these check for themselves what they need. */
const CALLS: Readonly<Record<string, Handler | undefined>> = {
  "/v1/messages": createMessage,
  "/v1/messages/count_tokens": countTokens,
  "/v1/chat/completions": createChatCompletion,
  "/v1/complete": createCompletion,
};

const ROUTES: readonly Route[] = [
  route("/v1/models", { GET: (exchange) => exchange.sendJson(200, listModels(exchange.url.searchParams)) }),
  route("/v1/models/*", { GET: (exchange, _state, id = "") => exchange.sendJson(200, getModel(id)) }),
  route("/v1/messages/batches", { GET: batches.listBatches, POST: batches.createBatch }, BATCHES),
  route("/v1/messages/batches/*", { GET: one(batches.getBatch), DELETE: one(batches.deleteBatch) }, BATCHES),
  route("/v1/messages/batches/*/cancel", { POST: one(batches.cancelBatch) }, BATCHES),
  route("/v1/messages/batches/*/results", { GET: one(batches.sendResults) }, BATCHES),
  route("/v1/files", { GET: files.listFiles, POST: files.uploadFile }, FILES),
  route("/v1/files/*", { GET: one(files.getFile), DELETE: one(files.deleteFile) }, FILES),
  route("/v1/files/*/content", { GET: one(files.downloadFile) }, FILES),
  route("/v1/skills", { GET: skills.listSkills, POST: skills.createSkill }, SKILLS),
  route("/v1/skills/*", { GET: one(skills.getSkill), DELETE: one(skills.deleteSkill) }, SKILLS),
  route("/v1/skills/*/versions", { GET: one(skills.listVersions), POST: one(skills.createVersion) }, SKILLS),
  route("/v1/skills/*/versions/*", { GET: two(skills.getVersion), DELETE: two(skills.deleteVersion) }, SKILLS),
  route("/v1/user_profiles", { GET: profiles.listProfiles, POST: profiles.createProfile }),
  route("/v1/user_profiles/*", {
    GET: one(profiles.getProfile),
    POST: one(profiles.updateProfile),
    DELETE: one(profiles.deleteProfile),
  }),
  route("/v1/user_profiles/*/action_urls", { POST: one(profiles.createActionUrl) }),
  route("/v1/agents", { GET: agents.listAgents, POST: agents.createAgent }, MANAGED),
  route("/v1/agents/*", { GET: one(agents.getAgent), POST: one(agents.updateAgent) }, MANAGED),
  route("/v1/agents/*/archive", { POST: one(agents.archiveAgent) }, MANAGED),
  route("/v1/agents/*/versions", { GET: one(agents.listAgentVersions) }, MANAGED),
  route("/v1/environments", { GET: environments.listEnvironments, POST: environments.createEnvironment }, MANAGED),
  route(
    "/v1/environments/*",
    {
      GET: one(environments.getEnvironment),
      POST: one(environments.updateEnvironment),
      DELETE: one(environments.deleteEnvironment),
    },
    MANAGED,
  ),
  route("/v1/environments/*/archive", { POST: one(environments.archiveEnvironment) }, MANAGED),
  route("/v1/sessions", { GET: sessions.listSessions, POST: sessions.createSession }, MANAGED),
  route(
    "/v1/sessions/*",
    {
      GET: one(sessions.getSession),
      POST: one(sessions.updateSession),
      DELETE: one(sessions.deleteSession),
    },
    MANAGED,
  ),
  route("/v1/sessions/*/archive", { POST: one(sessions.archiveSession) }, MANAGED),
  route("/v1/sessions/*/events", { GET: one(sessions.listEvents), POST: one(sessions.sendEvents) }, MANAGED),
  route("/v1/sessions/*/events/stream", { GET: one(sessions.streamEvents) }, MANAGED),
  route("/v1/sessions/*/resources", { GET: one(sessions.listResources), POST: one(sessions.addResource) }, MANAGED),
  route(
    "/v1/sessions/*/resources/*",
    { GET: two(sessions.getResource), DELETE: two(sessions.deleteResource) },
    MANAGED,
  ),
  route("/v1/organizations/rate_limits", { GET: listRateLimits }),
  route("/v1/organizations/usage_report/messages", { GET: reportUsage }),
  route("/v1/organizations/cost_report", { GET: reportCosts }),
];

/** Answers a call below `/v1` that is authenticated. Throws ApiError. */
export function dispatch(exchange: Exchange, state: SimulatorState): void | Promise<void> {
  const { pathname } = exchange.url;
  const method = exchange.request.method ?? "GET";
  // What carries nearly all traffic is found without a search.
  const call = CALLS[pathname];
  if (call) {
    if (method !== "POST") throw methodNotAllowed();
    return call(exchange, state);
  }
  return search(exchange, state, pathname, method);
}

async function search(exchange: Exchange, state: SimulatorState, pathname: string, method: string): Promise<void> {
  exchange.billed = false;
  for (const { path, methods, surface, beta } of ROUTES) {
    const match = path.exec(pathname);
    if (!match) continue;
    const handler = methods[method];
    if (!handler) throw methodNotAllowed();
    parseVersion(exchange.header("anthropic-version"));
    const betas = parseBetas(exchange.header("anthropic-beta"));
    if (beta && !betas.includes(beta)) throw betaNeeded(beta);
    if (await meetFault(exchange, state)) return;
    const refused = surface && state.limits.admitRequest(surface(method), exchange.clock.now());
    if (refused) throw exceeds(refused, { organizationId: state.organizationId, model: null });
    state.settleBatches(exchange.clock.now());
    return handler(exchange, state, ...match.slice(1).map(decode));
  }
  throw notFound();
}

/** The faults that mean something where no model answers. A batch's own are met by its requests, one by one. */
async function meetFault(exchange: Exchange, state: SimulatorState): Promise<boolean> {
  const { fault } = parseWishes(exchange.request.headers);
  if (fault === null || exchange.url.pathname === "/v1/messages/batches") return false;
  exchange.fault = fault;
  if (fault === "reset") {
    exchange.hangUp();
    return true;
  }
  if (fault === "slow-headers") await exchange.sleepUntil(exchange.arrivedMs + state.slowHeadersMs);
  const refusal = refusalOf(fault, false, 0);
  if (refusal) throw refusal;
  return exchange.gone;
}

function betaNeeded(beta: string): ApiError {
  return new ApiError(400, "invalid_request_error", `this API is in beta: add \`anthropic-beta: ${beta}\` to use it`);
}

function decode(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

function one(handler: (exchange: Exchange, state: SimulatorState, id: string) => void | Promise<void>): Handler {
  return (exchange, state, id = "") => handler(exchange, state, id);
}

function two(
  handler: (exchange: Exchange, state: SimulatorState, id: string, inner: string) => void | Promise<void>,
): Handler {
  return (exchange, state, id = "", inner = "") => handler(exchange, state, id, inner);
}
