import { parseVersion } from "./api-version.ts";
import type { Exchange } from "./exchange.ts";
import { asObject, asOneOf, asString, isObject, type JsonObject, onlyKeys } from "./field.ts";
import { optional, readObject, stringMap, timestamp } from "./json-fields.ts";
import { pageByCursor, pageById } from "./paging.ts";
import { wireId } from "./seeded.ts";
import type { SimulatorState } from "./simulator-state.ts";

export type UserProfile = {
  id: string;
  type: "user_profile";
  name: string | null;
  access_type: string;
  external_user_details: JsonObject;
  metadata: Record<string, string>;
  enforcement_status: "unrestricted";
  enforcement_actions: [];
  programs: { cyber: null; efs: null };
  created_at: string;
  updated_at: string;
};

const KEYS: ReadonlySet<string> = new Set(["access_type", "external_user_details", "metadata", "name"]);
const DETAILS = ["account_status", "country", "email_hash", "entity_type", "name_hash", "onboarded_at", "reference_id"];
const NO_DETAILS: JsonObject = Object.fromEntries(DETAILS.map((key) => [key, null]));
const ACTION_URL_MS = 3_600_000;

export async function createProfile(exchange: Exchange, state: SimulatorState): Promise<void> {
  const body = await readObject(exchange, KEYS);
  const createdAt = nowOf(exchange);
  const profile: UserProfile = {
    id: wireId("uprof", state.ids),
    type: "user_profile",
    name: null,
    access_type: "application",
    external_user_details: NO_DETAILS,
    metadata: {},
    enforcement_status: "unrestricted",
    enforcement_actions: [],
    programs: { cyber: null, efs: null },
    created_at: createdAt,
    updated_at: createdAt,
  };
  exchange.sendJson(200, state.userProfiles.add({ ...profile, ...changesOf(body, profile) }));
}

export async function updateProfile(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const profile = state.userProfiles.get(id);
  const changes = changesOf(await readObject(exchange, KEYS), profile);
  exchange.sendJson(200, Object.assign(profile, changes, { updated_at: nowOf(exchange) }));
}

export function listProfiles(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const profiles = state.userProfiles.list();
  if (query.get("order") === "asc") profiles.reverse();
  if (parseVersion(exchange.header("anthropic-version")) === "2023-06-01" && !query.has("page")) {
    const { next_page } = pageByCursor(profiles, query);
    exchange.sendJson(200, { ...pageById(profiles, query), next_page });
    return;
  }
  const { data, next_page } = pageByCursor(profiles, query);
  exchange.sendJson(200, { data, next_page });
}

export function getProfile(exchange: Exchange, state: SimulatorState, id: string): void {
  exchange.sendJson(200, state.userProfiles.get(id));
}

export function deleteProfile(exchange: Exchange, state: SimulatorState, id: string): void {
  state.userProfiles.get(id);
  state.userProfiles.delete(id);
  exchange.sendJson(200, { id, type: "user_profile_deleted" });
}

/** A page on which the profile's user enrols, good for an hour. */
export async function createActionUrl(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const profile = state.userProfiles.get(id);
  const body = await readObject(exchange, new Set(["action"]));
  asOneOf(asObject(body.action, "action").type, "action.type", ["enroll_end_user"]);
  exchange.sendJson(200, {
    type: "user_profile_action_url",
    url: `https://platform.claude.com/user-profiles/${profile.id}/enroll`,
    expires_at: new Date(exchange.clock.now() + ACTION_URL_MS).toISOString(),
  });
}

function changesOf(body: JsonObject, profile: UserProfile): Partial<UserProfile> {
  const changes: Partial<UserProfile> = {};
  if (body.name !== undefined) changes.name = body.name === null ? null : asString(body.name, "name");
  const access = optional(body.access_type, (value) => asOneOf(value, "access_type", ["application", "passthrough"]));
  if (access) changes.access_type = access;
  if (body.metadata !== undefined) changes.metadata = stringMap(body.metadata, "metadata", profile.metadata);
  if (isObject(body.external_user_details)) {
    onlyKeys(body.external_user_details, "external_user_details", new Set(DETAILS));
    changes.external_user_details = { ...profile.external_user_details, ...body.external_user_details };
  }
  return changes;
}

function nowOf(exchange: Exchange): string {
  return timestamp(exchange.clock.now());
}
