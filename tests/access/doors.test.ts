import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import * as rotation from "../../app/api/agents/[id]/rotate/route.ts";
import * as agent from "../../app/api/agents/[id]/route.ts";
import * as agents from "../../app/api/agents/route.ts";
import * as settings from "../../app/api/settings/route.ts";
import * as upstream from "../../app/api/upstreams/[id]/route.ts";
import * as upstreamTest from "../../app/api/upstreams/[id]/test/route.ts";
import * as upstreams from "../../app/api/upstreams/route.ts";
import { type Access, createAccess } from "../../lib/access/access.ts";
import { runAgentsCommand } from "../../lib/access/agents-cli.ts";
import { Operators } from "../../lib/access/operators.ts";
import { DEFAULT_GATEWAY_SETTINGS } from "../../lib/access/schema.ts";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { openTestDatabase } from "../support/database.ts";

type Module = Record<
  string,
  (request: Request, context: { params: Promise<Record<string, string>> }) => Promise<Response>
>;

const DOORS: [RegExp, Module][] = [
  [/^\/api\/agents$/, agents],
  [/^\/api\/agents\/(?<id>[^/]+)$/, agent],
  [/^\/api\/agents\/(?<id>[^/]+)\/rotate$/, rotation],
  [/^\/api\/upstreams$/, upstreams],
  [/^\/api\/upstreams\/(?<id>[^/]+)$/, upstream],
  [/^\/api\/upstreams\/(?<id>[^/]+)\/test$/, upstreamTest],
  [/^\/api\/settings$/, settings],
];
const TOKEN = "an-admin-token-for-tests";
const KEY = "sk-ant-upstream-0123456789";

let access: Access;
/** Another process on the same database. */
let restart: () => Access;
let url: string;
let simulator: Awaited<ReturnType<typeof startSimulator>>;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  const stored = await openTestDatabase();
  simulator = await startSimulator({ apiKeys: [KEY] });
  const box = new SecretBox(Buffer.alloc(32, 7));
  const builtIn = { baseUrl: simulator.url, apiKey: KEY };
  restart = () => createAccess({ database: stored.database, box, clock: systemClock, builtIn });
  access = restart();
  await access.refresh();
  const operators = new Operators({ adminToken: TOKEN, box, clock: systemClock });
  // The doors ask for the process's runtime; of that they need no more than this.
  Object.assign(globalThis, { [Symbol.for("headroom.runtime")]: Promise.resolve({ access, operators }) });
  const server = createServer(async (req, res) => {
    const answer = await knock(req);
    res.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  closers.push(() => server.close(), simulator.close, stored.close);
});
afterAll(async () => {
  for (const close of closers) await close();
});

async function knock(req: IncomingMessage): Promise<Response> {
  const target = new URL(req.url ?? "/", url);
  for (const [pattern, doors] of DOORS) {
    const match = pattern.exec(target.pathname);
    const door = match && doors[req.method ?? ""];
    if (!door) continue;
    const body = await text(req);
    const headers = Object.entries(req.headers).map(([name, value]): [string, string] => [name, String(value)]);
    const request = new Request(target, { method: req.method ?? "GET", headers, ...(body === "" ? {} : { body }) });
    return door(request, { params: Promise.resolve(match.groups ?? {}) });
  }
  return new Response(null, { status: 404 });
}

async function api(method: string, path: string, body?: object, token = TOKEN) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, body: await response.json() };
}

const command = (...args: string[]) =>
  runAgentsCommand([...args, "--url", url], { HEADROOM_ADMIN_TOKEN: TOKEN, HEADROOM_DATA_DIR: "/nowhere" });
const keyIn = (said: string) => /hr_[\w-]{32}/.exec(said)?.[0] ?? "";

test("every door of access wants the admin token", async () => {
  for (const [method, path] of [
    ["GET", "/api/agents"],
    ["POST", "/api/agents"],
    ["PATCH", "/api/agents/x"],
    ["DELETE", "/api/agents/x"],
    ["POST", "/api/agents/x/rotate"],
    ["GET", "/api/upstreams"],
    ["POST", "/api/upstreams"],
    ["PATCH", "/api/upstreams/x"],
    ["DELETE", "/api/upstreams/x"],
    ["POST", "/api/upstreams/x/test"],
    ["GET", "/api/settings"],
    ["PATCH", "/api/settings"],
  ] as const) {
    expect(await api(method, path, undefined, "wrong"), path).toMatchObject({ status: 401 });
  }
});

test("an agent is made, listed with its use, changed, rotated and revoked", async () => {
  const made = await api("POST", "/api/agents", { name: "door", requestsPerMinute: 3 });
  expect(made).toMatchObject({ status: 201, body: { agent: { name: "door", settings: { requestsPerMinute: 3 } } } });
  const { id } = made.body.agent;
  access.guard.admit({ agentId: id, model: "m", estimate: null, nowMs: Date.now() });
  const listed = (await api("GET", "/api/agents")).body.agents.find((entry: { id: string }) => entry.id === id);
  expect(listed.use).toMatchObject({ requests: 1, openCalls: 1, spentTodayNanoUsd: 0 });
  expect(JSON.stringify(listed)).not.toContain(made.body.secret);

  const changed = await api("PATCH", `/api/agents/${id}`, { allowedModels: ["claude-haiku-*"] });
  expect(changed.body.agent.settings).toMatchObject({ allowedModels: ["claude-haiku-*"], requestsPerMinute: 3 });
  const rotated = await api("POST", `/api/agents/${id}/rotate`, { overlapHours: 0 });
  expect(rotated).toMatchObject({ status: 201 });
  expect(access.agentKeys.find(made.body.secret)).toBeNull();
  expect(access.agentKeys.find(rotated.body.secret)?.id).toBe(id);
  expect(await api("DELETE", `/api/agents/${id}`)).toMatchObject({ status: 200, body: { revoked: true } });
  expect(access.agentKeys.find(rotated.body.secret)).toBeNull();
  expect(await api("DELETE", `/api/agents/${id}`)).toMatchObject({
    status: 404,
    body: { error: { code: "not_found" } },
  });
});

test("wrong fields are named in one sentence", async () => {
  const wrong = async (body: object) => {
    const answer = await api("POST", "/api/agents", { name: "wrong", ...body });
    expect(answer).toMatchObject({ status: 400, body: { error: { code: "invalid_input" } } });
    return answer.body.error.message;
  };
  expect(await wrong({ requestPerMinute: 3 })).toMatch(/requestPerMinute/);
  expect(await wrong({ requestsPerMinute: 0 })).toBe("requestsPerMinute: must be at least 1; null means no cap");
  expect(await wrong({ allowedModels: [] })).toMatch(/null allows all/);
  expect(await wrong({ dailyBudgetNanoUsd: 1.5 })).toMatch(/dailyBudgetNanoUsd/);
  expect(await wrong({ maxClass: "urgent" })).toMatch(/maxClass/);
  expect(await wrong({ responseCacheS: 0 })).toBe("responseCacheS: must be at least 1 second; null means no cache");
  expect(await wrong({ responseCacheS: 86_401 })).toMatch(/at most 86400 seconds/);
});

test("an upstream is made, tested for real, changed and deleted, and its key is in no answer", async () => {
  const made = await api("POST", "/api/upstreams", { name: "door", baseUrl: simulator.url, apiKey: KEY });
  expect(made).toMatchObject({ status: 201, body: { upstream: { maskedKey: "sk-ant-…6789" } } });
  const { id } = made.body.upstream;
  const tested = await api("POST", `/api/upstreams/${id}/test`);
  expect(tested.body.test).toMatchObject({ ok: true, status: 200 });
  expect((await api("POST", "/api/upstreams/default/test")).body.test).toMatchObject({ ok: true });
  const changed = await api("PATCH", `/api/upstreams/${id}`, { enabled: false });
  const listed = await api("GET", "/api/upstreams");
  expect(listed.body.upstreams.map((entry: { name: string; enabled: boolean }) => [entry.name, entry.enabled])).toEqual(
    [
      ["default", true],
      ["door", false],
    ],
  );
  expect(JSON.stringify([made, tested, changed, listed])).not.toContain(KEY);
  expect(await api("DELETE", `/api/upstreams/${id}`)).toMatchObject({ body: { deleted: true } });
});

test("rate-limit headers pass unless an operator says otherwise, and nonsense is refused", async () => {
  const settings = { rateLimitHeaders: "pass", trafficMode: "enforce", poolModes: {}, pingWhileWaiting: false };
  expect((await api("GET", "/api/settings")).body).toMatchObject({ settings });
  expect((await api("GET", "/api/settings")).body).toEqual({ settings: DEFAULT_GATEWAY_SETTINGS });
  expect((await api("PATCH", "/api/settings", { rateLimitHeaders: "strip" })).body.settings.rateLimitHeaders).toBe(
    "strip",
  );
  const stripped = { ...DEFAULT_GATEWAY_SETTINGS, rateLimitHeaders: "strip" };
  expect((await api("GET", "/api/settings")).body).toEqual({ settings: stripped });
  expect(await api("PATCH", "/api/settings", { rateLimitHeaders: "perhaps" })).toMatchObject({ status: 400 });
  expect(await api("PATCH", "/api/settings", { rateLimits: "pass" })).toMatchObject({ status: 400 });
  expect(await api("PATCH", "/api/settings", { pingWhileWaiting: "yes" })).toMatchObject({ status: 400 });
  const pinging = await api("PATCH", "/api/settings", { pingWhileWaiting: true });
  expect(pinging.body.settings).toMatchObject({ pingWhileWaiting: true, rateLimitHeaders: "strip" });
});

test("rules for another model are an operator's to make, and say what is wrong with them", async () => {
  const rules = [{ model: "claude-opus-5*", to: "claude-sonnet-5-5", waitS: 20 }];
  expect((await api("PATCH", "/api/settings", { fallbacks: rules })).body.settings.fallbacks).toEqual(rules);
  expect((await api("GET", "/api/settings")).body.settings.fallbacks).toEqual(rules);
  for (const wrong of [{ to: "claude-*" }, { waitS: 0 }, { model: "two words" }, { why: "because" }]) {
    const refused = await api("PATCH", "/api/settings", { fallbacks: [{ ...rules[0], ...wrong }] });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: "invalid_input" } } });
    expect(refused.body.error.message).toContain("fallbacks.0");
  }
  expect((await api("PATCH", "/api/settings", { fallbacks: [] })).body.settings.fallbacks).toEqual([]);
});

test("traffic modes are changed one by one, pools' modes all together, and each pool is named by its id", async () => {
  const change = async (body: object) => (await api("PATCH", "/api/settings", body)).body.settings;
  const byPool = { "opus-5.5": "off", "claude-opus-9": "observe" };
  expect(await change({ poolModes: byPool })).toMatchObject({ trafficMode: "enforce", poolModes: byPool });
  expect(await change({ trafficMode: "observe" })).toMatchObject({ trafficMode: "observe", poolModes: byPool });
  expect((await change({ poolModes: { "haiku-4.5": "enforce" } })).poolModes).toEqual({ "haiku-4.5": "enforce" });
  const wrong = async (poolModes: object) => {
    const answer = await api("PATCH", "/api/settings", { poolModes });
    expect(answer).toMatchObject({ status: 400, body: { error: { code: "invalid_input" } } });
    return answer.body.error.message;
  };
  const model = await wrong({ "claude-opus-5-5": "off" });
  expect(model).toBe("poolModes: claude-opus-5-5 is a model of the pool opus-5.5: name the pool");
  expect(await wrong({ "opus-5.5": "on" })).toContain("poolModes.opus-5.5");
  const tooMany = Object.fromEntries(Array.from({ length: 201 }, (_, index) => [`pool-${index}`, "off"]));
  expect(await wrong(tooMany)).toBe("poolModes: names more than 200 pools");
  expect((await change({ poolModes: {}, trafficMode: "enforce" })).poolModes).toEqual({});
});

test("a traffic mode holds at once where it was set, elsewhere from the next reading, and after a restart", async () => {
  const follow = ({ settings }: Access) => {
    const controller = new TrafficController({ random: () => 0.5 });
    const desk = new TrafficDesk({ controller, clock: systemClock });
    settings.follow(({ trafficMode, poolModes }) => desk.setModes(trafficMode, poolModes));
    return () => [desk.snapshot().mode, desk.snapshot().poolModes];
  };
  const other = restart();
  const [here, there] = [follow(access), follow(other)];
  await api("PATCH", "/api/settings", { trafficMode: "off", poolModes: { "opus-5": "enforce" } });
  expect(here()).toEqual(["off", { "opus-5": "enforce" }]);
  expect(there()).toEqual(["enforce", {}]);
  await other.refresh();
  expect(there()).toEqual(here());
  const next = restart();
  await next.load();
  expect(follow(next)()).toEqual(here());
  await api("PATCH", "/api/settings", { trafficMode: "enforce", poolModes: {} });
  expect(here()).toEqual(["enforce", {}]);
});

test("changes that come together are all kept, whatever is read meanwhile", async () => {
  const changes = [{ trafficMode: "off" }, { poolModes: { "opus-5": "observe" } }, { rateLimitHeaders: "pass" }];
  await Promise.all(changes.flatMap((body) => [api("PATCH", "/api/settings", body), access.settings.refresh()]));
  const settings = { trafficMode: "off", poolModes: { "opus-5": "observe" }, rateLimitHeaders: "pass" };
  expect(access.settings.current).toMatchObject(settings);
  expect((await api("GET", "/api/settings")).body).toMatchObject({ settings });
});

test("the command line makes, shows, changes, rotates and revokes agents", async () => {
  const said = await command(
    "create",
    "night batch",
    "--models",
    "claude-haiku-*, claude-opus-5-5",
    "--rpm",
    "1_000",
    "--daily-budget",
    "$2.50",
    "--class",
    "low",
    "--cache",
    "600",
    "--max-wait",
    "30",
  );
  const secret = keyIn(said);
  expect(said).toContain(`ANTHROPIC_BASE_URL=${url} ANTHROPIC_AUTH_TOKEN=${secret}`);
  expect(access.agentKeys.find(secret)?.settings).toMatchObject({
    ...{ allowedModels: ["claude-haiku-*", "claude-opus-5-5"], requestsPerMinute: 1_000 },
    ...{ dailyBudgetNanoUsd: 2_500_000_000, monthlyBudgetNanoUsd: null, defaultClass: "low" },
    ...{ responseCacheS: 600, maxWaitS: 30 },
  });
  const listed = await command("list");
  expect(listed).toMatch(/^NAME +STATE +KEYS/);
  expect(listed).toMatch(/night batch +on +hr_\S{6}… +\$0\.00 of \$2\.50 +\$0\.00 +claude-haiku-\*,claude-opus-5-5/);

  await command("update", "night batch", "--rpm", "none", "--cache", "none", "--disable", "--rename", "nightly");
  expect(access.agentKeys.find(secret)).toMatchObject({
    name: "nightly",
    settings: { requestsPerMinute: null, responseCacheS: null, enabled: false },
  });
  const next = keyIn(await command("rotate", "nightly", "--overlap-hours", "1"));
  expect([access.agentKeys.find(secret)?.name, access.agentKeys.find(next)?.name]).toEqual(["nightly", "nightly"]);
  const json = JSON.parse(await command("rotate", "nightly", "--overlap-hours", "0", "--json"));
  expect([access.agentKeys.find(next), access.agentKeys.find(json.secret)?.name]).toEqual([null, "nightly"]);
  await command("revoke", "nightly");
  expect(await command("list")).not.toContain("nightly");
});

test.each([
  [["create"], /create needs the agent's name/],
  [["creat", "x"], /There is no command creat/],
  [["create", "two", "words"], /words is too much: put names with spaces into quotes/],
  [["create", "x", "--rpm", "many"], /--rpm many: must be a number, or none/],
  [["create", "x", "--rpm", "-1"], /rpm/],
  [["create", "x", "--budget", "3"], /--budget/],
  [["create", "x", "--rpm", "0"], /requestsPerMinute: must be at least 1/],
  [["update", "x"], /update needs something to change/],
  [["update", "nobody", "--rpm", "3"], /There is no agent named nobody/],
  [["create", "x", "--enable", "--disable"], /exclude each other/],
])("%j is answered with what to do", async (args, said) => {
  await expect(command(...args)).rejects.toThrow(said);
});

test("without a server or a token the command line says what to do", async () => {
  const away = runAgentsCommand(["list", "--url", "http://127.0.0.1:1"], { HEADROOM_ADMIN_TOKEN: TOKEN });
  await expect(away).rejects.toThrow(
    "No Headroom answers at http://127.0.0.1:1: start it, or say where it is with --url.",
  );
  await expect(runAgentsCommand(["list"], { HEADROOM_DATA_DIR: "/nowhere" })).rejects.toThrow(
    "There is no admin token in /nowhere/admin-token: set HEADROOM_ADMIN_TOKEN.",
  );
  const refused = runAgentsCommand(["list", "--url", url], { HEADROOM_ADMIN_TOKEN: "a-wrong-admin-token" });
  await expect(refused).rejects.toThrow(/not the admin token/);
});
