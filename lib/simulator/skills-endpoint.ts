import { createHash } from "node:crypto";
import { invalidRequest } from "./api-error.ts";
import { type ApiVersion, parseVersion } from "./api-version.ts";
import type { Exchange } from "./exchange.ts";
import { fail } from "./field.ts";
import { readField } from "./files-endpoint.ts";
import { readParts } from "./multipart.ts";
import { pageByCursor } from "./paging.ts";
import { tooLarge } from "./request-body.ts";
import { ResourceStore } from "./resource-store.ts";
import { wireId } from "./seeded.ts";
import type { SimulatorState } from "./simulator-state.ts";

type SkillVersion = {
  id: string;
  skillId: string;
  /** What clients of version 2023-06-01 know it by: microseconds since the epoch. */
  number: string;
  name: string;
  description: string;
  directory: string;
  createdAt: string;
};
type Skill = { id: string; displayName: string; createdAt: string; updatedAt: string; versions: SkillVersion[] };
type Upload = { displayName: string | null; name: string; description: string; directory: string };

/** Everything about skills that the simulator keeps. */
export class SkillStore extends ResourceStore<Skill> {
  constructor() {
    super("Skill");
  }
}

const MAX_BYTES = 30 * 1024 * 1024;

/** `POST /v1/skills`: files of one directory with a `SKILL.md` at its top. */
export async function createSkill(exchange: Exchange, state: SimulatorState): Promise<void> {
  const upload = await readUpload(exchange);
  const createdAt = nowOf(exchange);
  const displayName = upload.displayName ?? upload.name;
  const skill: Skill = { id: wireId("skill", state.ids), displayName, createdAt, updatedAt: createdAt, versions: [] };
  skill.versions.push(versionOf(skill, upload, exchange, state));
  exchange.sendJson(200, skillBody(state.skills.add(skill), versionFor(exchange)));
}

export function listSkills(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const source = query.get("source");
  const skills = state.skills.list().filter(() => source === null || source === "custom");
  const { data, next_page } = pageByCursor(skills, query, { maximum: 100 });
  const bodies = data.map((skill) => skillBody(skill, versionFor(exchange)));
  exchange.sendJson(200, { data: bodies, has_more: next_page !== null, next_page });
}

export function getSkill(exchange: Exchange, state: SimulatorState, id: string): void {
  exchange.sendJson(200, skillBody(state.skills.get(id), versionFor(exchange)));
}

export function deleteSkill(exchange: Exchange, state: SimulatorState, id: string): void {
  if (state.skills.get(id).versions.length > 0) {
    throw invalidRequest("Cannot delete skill with existing versions. Delete all versions first.");
  }
  state.skills.delete(id);
  exchange.sendJson(200, { id, type: "skill_deleted" });
}

export async function createVersion(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const skill = state.skills.get(id);
  const version = versionOf(skill, await readUpload(exchange), exchange, state);
  skill.versions.unshift(version);
  skill.updatedAt = version.createdAt;
  exchange.sendJson(200, versionBody(version, versionFor(exchange)));
}

export function listVersions(exchange: Exchange, state: SimulatorState, id: string): void {
  const { data, next_page } = pageByCursor(state.skills.get(id).versions, exchange.url.searchParams);
  const bodies = data.map((version) => versionBody(version, versionFor(exchange)));
  exchange.sendJson(200, { data: bodies, has_more: next_page !== null, next_page });
}

export function getVersion(exchange: Exchange, state: SimulatorState, id: string, name: string): void {
  exchange.sendJson(200, versionBody(findVersion(state.skills.get(id), name), versionFor(exchange)));
}

export function deleteVersion(exchange: Exchange, state: SimulatorState, id: string, name: string): void {
  const skill = state.skills.get(id);
  const version = findVersion(skill, name);
  skill.versions = skill.versions.filter((entry) => entry !== version);
  exchange.sendJson(200, { id: name, type: "skill_version_deleted" });
}

function findVersion(skill: Skill, name: string): SkillVersion {
  const version = skill.versions.find((entry) => entry.id === name || entry.number === name);
  return version ?? new ResourceStore<SkillVersion>("Skill version").get(name);
}

/** Only `SKILL.md` is read; of all other files it is enough that they came. */
async function readUpload(exchange: Exchange): Promise<Upload> {
  let displayName: string | null = null;
  let manifest: { path: string; text: string } | null = null;
  let bytes = 0;
  const hash = createHash("sha256");
  for await (const part of readParts(exchange.header("content-type") ?? "", exchange.request)) {
    if (part.filename === null) {
      if (!["display_name", "display_title"].includes(part.name)) fail(part.name, "Extra inputs are not permitted");
      displayName = await readField(part);
      continue;
    }
    if (!["files[]", "files"].includes(part.name)) fail(part.name, "Extra inputs are not permitted");
    const chunks: Buffer[] = [];
    for await (const chunk of part.body) {
      bytes += chunk.length;
      if (bytes > MAX_BYTES) throw tooLarge(exchange.request);
      hash.update(chunk);
      chunks.push(chunk);
    }
    if (/^([^/]+\/)?SKILL\.md$/.test(part.filename)) {
      manifest = { path: part.filename, text: Buffer.concat(chunks).toString("utf8") };
    }
  }
  if (!manifest) throw invalidRequest("files: a SKILL.md file must be exactly in the top-level folder");
  exchange.transfer = { bytes, sha256: hash.digest("hex") };
  const name = frontMatter(manifest.text, "name");
  const description = frontMatter(manifest.text, "description");
  return { displayName, name, description, directory: manifest.path.split("/").at(-2) ?? name };
}

function frontMatter(text: string, key: string): string {
  const head = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1] ?? "";
  const value = new RegExp(`^${key}:\\s*(.+)$`, "m").exec(head)?.[1]?.trim();
  if (!value) throw invalidRequest(`SKILL.md: the YAML front matter must give a ${key}`);
  return value.replace(/^(["'])(.*)\1$/, "$2");
}

function versionOf(skill: Skill, upload: Upload, exchange: Exchange, state: SimulatorState): SkillVersion {
  const { name, description, directory } = upload;
  // Two versions of one millisecond still need numbers of their own.
  const number = String(exchange.clock.now() * 1_000 + skill.versions.length);
  const id = wireId("skillver", state.ids);
  return { id, skillId: skill.id, number, name, description, directory, createdAt: nowOf(exchange) };
}

function skillBody(skill: Skill, version: ApiVersion): object {
  const latest = skill.versions[0];
  const common = { id: skill.id, type: "skill", created_at: skill.createdAt, updated_at: skill.updatedAt };
  if (version === "2023-06-01") {
    return { ...common, display_title: skill.displayName, latest_version: latest?.number ?? null, source: "custom" };
  }
  const latestId = latest?.id ?? null;
  return { ...common, display_name: skill.displayName, latest_version_id: latestId, source: { type: "custom" } };
}

function versionBody(entry: SkillVersion, version: ApiVersion): object {
  const { id, skillId, name, description, directory, createdAt } = entry;
  const common = { id, type: "skill_version", skill_id: skillId, name, description, created_at: createdAt };
  return version === "2023-06-01" ? { ...common, directory, version: entry.number } : common;
}

function versionFor(exchange: Exchange): ApiVersion {
  return parseVersion(exchange.header("anthropic-version"));
}

function nowOf(exchange: Exchange): string {
  return new Date(exchange.clock.now()).toISOString();
}
