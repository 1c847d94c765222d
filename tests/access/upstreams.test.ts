import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { Upstreams } from "../../lib/access/upstreams.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { startUpstream } from "../support/upstream.ts";

const KEY = "sk-ant-api03-abcdefghijklmnop-x4Qb";
const ADMIN_KEY = "sk-ant-admin01-abcdefghijklmnop-Zz9_";
const box = new SecretBox(Buffer.alloc(32, 7));
const builtIn = { baseUrl: "https://api.anthropic.com", apiKey: "sk-ant-api03-from-the-environment" };
let stored: TestDatabase;

beforeAll(async () => {
  stored = await openTestDatabase();
});
afterAll(() => stored.close());

const open = (options: Partial<ConstructorParameters<typeof Upstreams>[0]> = {}) =>
  new Upstreams({ database: stored.database, box, builtIn, ...options });

test("the environment's own upstream comes first and can be changed only there", async () => {
  const upstreams = open();
  const [first] = await upstreams.list();
  expect(first).toMatchObject({ id: "default", builtIn: true, kind: "api", maskedKey: "sk-ant-…ment", enabled: true });
  expect(upstreams.credentials).toMatchObject([{ id: "default", ...builtIn }]);
  await expect(upstreams.update("default", { enabled: false })).rejects.toMatchObject({ code: "invalid_input" });
  await expect(upstreams.delete("default")).rejects.toThrow(/ANTHROPIC_API_KEY/);
  expect(open({ builtIn: { ...builtIn, apiKey: null } }).credentials).toEqual([]);
});

test("a key is sealed at rest, shown masked, and opened for calls alone", async () => {
  const upstreams = open();
  const made = await upstreams.create({ name: "second", apiKey: KEY });
  const admin = await upstreams.create({ name: "admin", kind: "admin", apiKey: ADMIN_KEY });
  expect(made).toMatchObject({ maskedKey: "sk-ant-…x4Qb", kind: "api", enabled: true, builtIn: false, fault: null });
  expect(admin).toMatchObject({ maskedKey: "sk-ant-admin…Zz9_" });
  const dump = JSON.stringify(await stored.sql("select to_jsonb(u) from gateway.upstreams u"));
  const shown = JSON.stringify([made, admin, await upstreams.list()]);
  for (const text of [dump, shown]) expect(text).not.toMatch(/abcdefgh/);
  expect(shown).not.toContain("v1.");
  expect(upstreams.credentials.map(({ name, apiKey }) => [name, apiKey])).toEqual([
    ["default", builtIn.apiKey],
    ["second", KEY],
    ["admin", ADMIN_KEY],
  ]);

  await upstreams.update(made.id, { enabled: false });
  expect(upstreams.credentials.map(({ name }) => name)).toEqual(["default", "admin"]);
  const elsewhere = open();
  await elsewhere.refresh();
  expect(elsewhere.credentials.map(({ name }) => name)).toEqual(["default", "admin"]);
  await upstreams.delete(made.id);
  await upstreams.delete(admin.id);
  expect(upstreams.credentials).toHaveLength(1);
  await expect(upstreams.delete(made.id)).rejects.toMatchObject({ code: "not_found" });
});

test("another master key opens nothing: the upstream says so and no call goes out with it", async () => {
  const made = await open().create({ name: "sealed", apiKey: KEY });
  const other = open({ box: new SecretBox(Buffer.alloc(32, 8)) });
  await other.refresh();
  expect(other.credentials).toHaveLength(1);
  const listed = (await other.list()).find(({ id }) => id === made.id);
  expect(listed?.fault).toBe("Its key was sealed with another HEADROOM_SECRET_KEY: enter the key again.");
  expect(await other.test(made.id)).toMatchObject({ ok: false, message: listed?.fault });
  await other.update(made.id, { apiKey: `${KEY}-2` });
  expect(other.credentials).toHaveLength(2);
  await other.delete(made.id);
});

test("a key does not follow to another host, and wrong input is said", async () => {
  const upstreams = open();
  const { id } = await upstreams.create({ name: "held", apiKey: KEY, baseUrl: "https://one.test/" });
  await expect(upstreams.update(id, { baseUrl: "https://two.test" })).rejects.toThrow(/send apiKey as well/);
  expect(await upstreams.update(id, { baseUrl: "https://one.test/v2" })).toMatchObject({
    baseUrl: "https://one.test/v2",
  });
  await expect(upstreams.create({ name: "held", apiKey: KEY })).rejects.toMatchObject({ code: "conflict" });
  for (const [input, said] of [
    [{ name: "default", apiKey: KEY }, /environment's own/],
    [{ name: "x", apiKey: KEY, baseUrl: "http://remote.test" }, /in the clear/],
    [{ name: "x", apiKey: KEY, baseUrl: "https://user:word@remote.test" }, /without user/],
    [{ name: "x", apiKey: "short" }, /8 to 1,000/],
    [{ name: "x", apiKey: ADMIN_KEY }, /choose kind admin/],
    [{ name: "x", kind: "admin" as const, apiKey: KEY }, /sk-ant-admin/],
  ] as const) {
    const error = await upstreams.create(input).catch((thrown: unknown) => thrown);
    expect(String(error)).toMatch(said);
    expect(String(error)).not.toMatch(/abcdefgh/);
  }
  await upstreams.delete(id);
});

test("a test asks the upstream with the key and tells what to do", async () => {
  const simulator = await startSimulator({ apiKeys: [KEY] });
  onTestFinished(() => simulator.close());
  const upstreams = open();
  const { id } = await upstreams.create({ name: "simulator", apiKey: KEY, baseUrl: simulator.url });
  expect(await upstreams.test(id)).toMatchObject({
    ok: true,
    status: 200,
    message: expect.stringMatching(/sees \d+ models/),
  });
  await upstreams.update(id, { apiKey: `${KEY}x` });
  expect(await upstreams.test(id)).toMatchObject({
    ok: false,
    status: 401,
    message: expect.stringContaining("does not accept the key"),
  });
  await simulator.close();
  expect(await upstreams.test(id)).toMatchObject({
    ok: false,
    status: null,
    message: expect.stringContaining("cannot be reached"),
  });
  await upstreams.delete(id);
});

test("a redirect takes the key nowhere, and what an upstream says is not repeated", async () => {
  const other = await startUpstream((res) => res.end("{}"));
  onTestFinished(other.close);
  const first = await startUpstream((res, { headers }) => {
    res.writeHead(302, { location: other.url });
    res.end(`you sent ${headers["x-api-key"]}`);
  });
  onTestFinished(first.close);
  const upstreams = open({ builtIn: { baseUrl: first.url, apiKey: KEY } });
  const result = await upstreams.test("default");
  expect(result).toMatchObject({ ok: false, status: 302 });
  expect(JSON.stringify(result)).not.toContain(KEY);
  expect(first.received[0]?.headers["x-api-key"]).toBe(KEY);
  expect(other.received).toEqual([]);
});
