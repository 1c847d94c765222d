import Anthropic, { toFile } from "@anthropic-ai/sdk";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { HELLO, simulate } from "./simulator-client.ts";

const ADMIN_KEY = "sk-ant-admin01-test";
const MARKDOWN = '---\nname: pdf-tools\ndescription: "Reads PDFs"\n---\n\nDo it.\n';

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const entry of items) collected.push(entry);
  return collected;
}

const admin = (url: string) => new Anthropic({ apiKey: ADMIN_KEY, authToken: null, baseURL: url, maxRetries: 0 });
const read = (url: string, version: string, query = "") =>
  fetch(`${url}/v1/organizations/rate_limits${query}`, {
    headers: { "x-api-key": ADMIN_KEY, "anthropic-version": version },
  });

describe("the rate limits of the organisation", () => {
  test("are those in force, group by group", async () => {
    const { simulator } = await simulate({ tier: "build", limits: { "opus-4.x": { output_tokens: 7_000 } } });
    simulator.setLimits({ batches: { requests: 77 } });
    const entries = await collect(admin(simulator.url).organization.rateLimits.list());
    const opus = entries.find(({ group }) => group.type === "model_group" && group.display_name === "Claude Opus 4.x");
    expect(opus).toMatchObject({
      type: "rate_limit",
      group: { type: "model_group", id: expect.stringMatching(/^rlg_01/) },
      limits: [
        { type: "requests_per_minute", value: 5_000 },
        { type: "input_tokens_per_minute_cache_aware", value: 5_000_000 },
        { type: "output_tokens_per_minute", value: 7_000 },
      ],
    });
    expect(opus?.models).toEqual(
      expect.arrayContaining(["claude-opus-4-8", "claude-opus-4-5", "claude-opus-4-5-20251101"]),
    );
    const batch = entries.find(({ group }) => group.type === "batch");
    expect(batch).toMatchObject({
      models: null,
      limits: [
        { type: "requests_per_minute", value: 77 },
        { type: "enqueued_batch_requests", value: 300_000 },
      ],
    });
    const types = new Set(entries.map(({ group }) => group.type));
    expect(types).toEqual(new Set(["model_group", "batch", "token_count", "files", "skills", "web_search"]));
  });

  test("are written as each version has them", async () => {
    const { simulator } = await simulate();
    const old = await (await read(simulator.url, "2023-06-01", "?limit=1")).json();
    expect(old.data[0]).toMatchObject({ group_type: "model_group" });
    expect(old.data[0].group).toBeUndefined();
    const fresh = await (await read(simulator.url, "2026-10-21", "?limit=1")).json();
    expect(fresh.data[0].group).toMatchObject({ type: "model_group", display_name: "Claude Fable 5.2" });
    expect(fresh.data[0].group_type).toBeUndefined();
  });

  test("are filtered and paged, and an unknown model is a 404", async () => {
    const { simulator } = await simulate();
    const { rateLimits } = admin(simulator.url).organization;
    const all = await collect(rateLimits.list());
    expect(await collect(rateLimits.list({ limit: 3 }))).toEqual(all);
    const byAlias = await collect(rateLimits.list({ model: "claude-haiku-4-5" }));
    expect(byAlias.map(({ models }) => models)).toEqual([["claude-haiku-4-5", "claude-haiku-4-5-20251001"]]);
    expect(await collect(rateLimits.list({ group_type: "files" }))).toHaveLength(1);
    await expect(rateLimits.list({ model: "claude-2" })).rejects.toBeInstanceOf(Anthropic.NotFoundError);
    expect((await read(simulator.url, "2026-10-21", "?group_type=x")).status).toBe(400);
    expect((await read(simulator.url, "2026-10-21", "?page=x")).status).toBe(400);
  });

  test("are for Admin keys, which are for nothing else", async () => {
    const { simulator, client } = await simulate();
    await expect(client.organization.rateLimits.list()).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    await expect(admin(simulator.url).messages.create(HELLO)).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
  });
});

describe("skills", () => {
  const files = async (name = "pdf/SKILL.md") => [
    await toFile(Buffer.from(MARKDOWN), name),
    await toFile(Buffer.from("print(1)"), "pdf/run.py"),
  ];

  test("are made of files, get versions, and go when those are gone", async () => {
    const { client } = await simulate();
    const skill = await client.skills.create({ display_name: "PDF", files: await files() });
    expect(skill).toMatchObject({ type: "skill", display_name: "PDF", source: { type: "custom" } });
    const version = await client.beta.skills.versions.create(skill.id, { files: await files() });
    expect(version).toMatchObject({
      type: "skill_version",
      skill_id: skill.id,
      name: "pdf-tools",
      description: "Reads PDFs",
    });
    expect((await client.skills.retrieve(skill.id)).latest_version_id).toBe(version.id);
    const versions = await collect(client.skills.versions.list(skill.id));
    expect(versions[0]?.id).toBe(version.id);
    expect(await client.skills.versions.retrieve(version.id, { skill_id: skill.id })).toEqual(version);
    await expect(client.skills.delete(skill.id)).rejects.toThrow("Delete all versions first");
    for (const { id } of versions) await client.skills.versions.delete(id, { skill_id: skill.id });
    expect(await client.skills.delete(skill.id)).toEqual({ id: skill.id, type: "skill_deleted" });
    expect(await collect(client.beta.skills.list())).toEqual([]);
  });

  test("without a SKILL.md at the top are refused", async () => {
    const { client } = await simulate();
    const wrong = client.skills.create({ files: await files("pdf/docs/SKILL.md") });
    await expect(wrong).rejects.toThrow("a SKILL.md file must be exactly in the top-level folder");
  });

  test("have their older shape for clients of version 2023-06-01", async () => {
    const { simulator, client } = await simulate();
    const skill = await client.skills.create({ files: await files() });
    const old = await fetch(`${simulator.url}/v1/skills/${skill.id}`, {
      headers: { "x-api-key": "sk-ant-x", "anthropic-version": "2023-06-01" },
    }).then((answer) => answer.json());
    expect(old).toMatchObject({
      display_title: "pdf-tools",
      source: "custom",
      latest_version: expect.stringMatching(/^\d+$/),
    });
  });
});

test("user profiles are made, changed, enrolled and deleted", async () => {
  const { client } = await simulate();
  const profile = await client.userProfiles.create({ name: "Ada", metadata: { a: "1" } });
  expect(profile).toMatchObject({
    type: "user_profile",
    enforcement_status: "unrestricted",
    access_type: "application",
  });
  const changed = await client.userProfiles.update(profile.id, {
    external_user_details: { country: "CH" },
    metadata: { b: "2" },
  });
  expect(changed).toMatchObject({
    name: "Ada",
    metadata: { a: "1", b: "2" },
    external_user_details: { country: "CH" },
  });
  const action = await client.userProfiles.actionURLs.create(profile.id, { action: { type: "enroll_end_user" } });
  expect(action.url).toContain(profile.id);
  expect((await collect(client.userProfiles.list())).map(({ id }) => id)).toEqual([profile.id]);
  await client.userProfiles.delete(profile.id);
  await expect(client.userProfiles.retrieve(profile.id)).rejects.toBeInstanceOf(Anthropic.NotFoundError);
});

describe("a caller with a claude.ai login", () => {
  const LOGIN = {
    "x-api-key": null,
    authorization: "Bearer sk-ant-oat01-x",
    "anthropic-beta": "oauth-2025-04-20",
    "x-simulator-input-tokens": "500",
    "x-simulator-output-tokens": "100",
  };

  test("is told shares of windows, with thresholds passed and Unix seconds, and none of the other family", async () => {
    const clock = new ManualClock();
    const subscription = { fiveHourTokens: 4_000, sevenDayTokens: 100_000 };
    const { simulator, post } = await simulate({ clock, subscription });
    const unified = async () => {
      const { headers, status } = await post(HELLO, LOGIN);
      const found = [...headers].filter(([name]) => name.startsWith("anthropic-ratelimit-"));
      const values = Object.fromEntries(
        found.map(([name, value]) => [name.replace("anthropic-ratelimit-unified-", ""), value]),
      );
      return { status, values, retryAfter: headers.get("retry-after") };
    };
    const at = Math.ceil(clock.now() / 1_000);
    expect((await unified()).values).toEqual({
      status: "allowed",
      reset: String(at + 5 * 3_600),
      "representative-claim": "five_hour",
      "5h-status": "allowed",
      "5h-reset": String(at + 5 * 3_600),
      "5h-utilization": "0.125",
      "7d-status": "allowed",
      "7d-reset": String(at + 7 * 24 * 3_600),
      "7d-utilization": "0.005",
      "overage-status": "rejected",
      "overage-disabled-reason": "org_level_disabled",
    });
    await unified();
    await unified();
    // 3 calls of 500 + 5 x 100 tokens, and the next one's prompt.
    expect((await unified()).values).toMatchObject({
      status: "allowed_warning",
      "5h-utilization": "0.875",
      "5h-surpassed-threshold": "0.75",
    });
    const rejected = await unified();
    expect(rejected).toMatchObject({ status: 429, retryAfter: "18000", values: { status: "rejected" } });
    clock.advance(5 * 3_600_000);
    expect(await unified()).toMatchObject({
      status: 200,
      values: { "5h-utilization": "0.125", "7d-utilization": "0.045" },
    });
    await simulator.idle();
    expect(simulator.levels()["opus-5.5"]?.requests.level ?? 1_000).toBe(1_000);
    expect(simulator.ledger.sums.usage).toMatchObject({ inputTokens: 2_500, output: 500 });
    expect(simulator.ledger.entries[0]?.rateLimitHeaders["anthropic-ratelimit-unified-status"]).toBe("allowed");
  });

  test("needs the beta of logins, and the bearer header", async () => {
    const { post } = await simulate();
    expect((await post(HELLO, { ...LOGIN, "anthropic-beta": null })).status).toBe(401);
    expect((await post(HELLO, { "x-api-key": "sk-ant-oat01-x" })).status).toBe(401);
  });
});
