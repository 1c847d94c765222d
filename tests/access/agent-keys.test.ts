import { afterAll, beforeAll, expect, test } from "vitest";
import { AgentKeys } from "../../lib/access/agent-keys.ts";
import { boundClass } from "../../lib/access/call-class.ts";
import { DEFAULT_AGENT_SETTINGS } from "../../lib/access/schema.ts";
import { ManualClock } from "../../lib/kit/clock.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";

const box = new SecretBox(Buffer.alloc(32, 7));
const HOUR_MS = 3_600_000;
let stored: TestDatabase;

beforeAll(async () => {
  stored = await openTestDatabase();
});
afterAll(() => stored.close());

async function open(clock = new ManualClock(Date.now())) {
  const keys = new AgentKeys({ database: stored.database, box, clock });
  await keys.refresh();
  return { keys, clock };
}

test("a key belongs to its agent with its settings, here at once and elsewhere with the next refresh", async () => {
  const [here, elsewhere] = [await open(), await open()];
  const { agent, secret } = await here.keys.create({ name: "one", maxClass: "high", requestsPerMinute: 10 });
  expect(secret).toMatch(/^hr_[\w-]{32}$/);
  expect(agent.keys).toMatchObject([{ prefix: secret.slice(0, 9), expiresAt: null }]);
  const settings = { ...DEFAULT_AGENT_SETTINGS, maxClass: "high", requestsPerMinute: 10 };
  expect(here.keys.find(secret)).toEqual({ id: agent.id, name: "one", settings });
  expect(elsewhere.keys.find(secret)).toBeNull();
  await elsewhere.keys.refresh();
  expect(elsewhere.keys.find(secret)).toEqual({ id: agent.id, name: "one", settings });
  expect(elsewhere.keys.find(`${secret}x`)).toBeNull();
});

test("while a rotation overlaps both keys work, then the new one alone", async () => {
  const { keys, clock } = await open();
  const { agent, secret: before } = await keys.create({ name: "rotated" });
  expect(keys.find(before)?.id).toBe(agent.id);
  const { secret: after, agent: rotated } = await keys.rotate(agent.id, { overlapHours: 2 });
  expect(rotated.keys.map((key) => key.expiresAt === null)).toEqual([true, false]);
  clock.advance(2 * HOUR_MS - 1);
  expect(keys.find(before)?.id).toBe(agent.id);
  expect(keys.find(after)?.id).toBe(agent.id);
  clock.advance(1);
  expect(keys.find(before)).toBeNull();
  expect(keys.find(after)?.id).toBe(agent.id);
});

test("a rotation without overlap ends the old key at once, and the default overlap is a day", async () => {
  const { keys, clock } = await open();
  const { agent, secret: first } = await keys.create({ name: "leaked" });
  const { secret: second } = await keys.rotate(agent.id, { overlapHours: 0 });
  expect(keys.find(first)).toBeNull();
  await keys.rotate(agent.id);
  clock.advance(24 * HOUR_MS - 1);
  expect(keys.find(second)?.id).toBe(agent.id);
  clock.advance(1);
  expect(keys.find(second)).toBeNull();
});

test("a revoked key stops here at once and in another instance with its next refresh", async () => {
  const [here, elsewhere] = [await open(), await open()];
  const { agent, secret } = await here.keys.create({ name: "revoked" });
  await elsewhere.keys.refresh();
  expect(elsewhere.keys.find(secret)?.id).toBe(agent.id);
  await here.keys.revoke(agent.id);
  expect(here.keys.find(secret)).toBeNull();
  await elsewhere.keys.refresh();
  expect(elsewhere.keys.find(secret)).toBeNull();
  await expect(here.keys.revoke(agent.id)).rejects.toMatchObject({ code: "not_found" });
  await expect(here.keys.rotate(agent.id)).rejects.toMatchObject({ code: "not_found" });
  await expect(here.keys.update(agent.id, { name: "x" })).rejects.toMatchObject({ code: "not_found" });
});

test("a reading that began before a change does not undo it", async () => {
  let wait: Promise<void> | null = null;
  const slow = new AgentKeys({
    ...{ box, clock: new ManualClock(Date.now()) },
    database: {
      async call(name, args, answer) {
        const read = await stored.database.call(name, args, answer);
        if (name === "agents_list") await wait;
        return read;
      },
    },
  });
  const { agent, secret } = await slow.create({ name: "raced" });
  let go = () => {};
  wait = new Promise((resolve) => {
    go = resolve;
  });
  const reading = slow.refresh();
  await slow.revoke(agent.id);
  go();
  await reading;
  expect(slow.find(secret)).toBeNull();
});

test("a change holds at once, leaves the rest, and null takes a cap away", async () => {
  const { keys } = await open();
  const { agent, secret } = await keys.create({ name: "changed", requestsPerMinute: 5, allowedModels: ["claude-*"] });
  const changed = await keys.update(agent.id, { name: "changed too", requestsPerMinute: null, enabled: false });
  expect(changed).toMatchObject({ name: "changed too", settings: { requestsPerMinute: null, enabled: false } });
  expect(keys.find(secret)).toMatchObject({ name: "changed too", settings: { allowedModels: ["claude-*"] } });
  expect(keys.get(agent.id)).toMatchObject({ settings: { enabled: false } });
});

test("taken names, wrong fields and a default class above the highest are each said in a sentence", async () => {
  const { keys } = await open();
  const { agent } = await keys.create({ name: "said" });
  await expect(keys.create({ name: "said" })).rejects.toMatchObject({
    message: "There is an agent named said already: revoke it or take another name.",
  });
  await expect(keys.create({ name: "x", maxClass: "low" })).rejects.toMatchObject({
    message: "defaultClass normal is above maxClass low: lower the one or raise the other.",
  });
  await expect(keys.update(agent.id, { maxClass: "low" })).rejects.toMatchObject({ code: "invalid_input" });
  const misspelt = { name: "y", requestPerMinute: 5 };
  await expect(keys.create(misspelt)).rejects.toThrow(/requestPerMinute/);
});

test("when a key was last used is stored, also when the first try fails", async () => {
  const clock = new ManualClock(Date.UTC(2026, 10, 23, 9));
  let isDown = false;
  const keys = new AgentKeys({
    ...{ box, clock },
    database: {
      call: (name, args, answer) =>
        isDown ? Promise.reject(new Error("the database is away")) : stored.database.call(name, args, answer),
    },
  });
  const { agent, secret } = await keys.create({ name: "used" });
  keys.find(secret);
  isDown = true;
  await expect(keys.refresh()).rejects.toThrow("away");
  expect(keys.find(secret)?.id).toBe(agent.id);
  isDown = false;
  await keys.refresh();
  const found = (await keys.list()).find(({ id }) => id === agent.id);
  expect(found).toMatchObject({ lastUsedAt: "2026-11-23T09:00:00.000Z" });
});

test("no row holds a key, and no list holds a hash", async () => {
  const { keys } = await open();
  const { agent, secret } = await keys.create({ name: "secret" });
  const { secret: second } = await keys.rotate(agent.id);
  const dump = JSON.stringify(
    await stored.sql("select to_jsonb(a) as a, to_jsonb(k) as k from gateway.agents a, gateway.agent_keys k"),
  );
  for (const key of [secret, second]) {
    expect(dump).toContain(key.slice(0, 9));
    expect(dump).not.toContain(key.slice(3));
  }
  const rows = await stored.sql("select hash from gateway.agent_keys");
  const listed = JSON.stringify([await keys.list(), await keys.update(agent.id, {})]);
  for (const { hash } of rows) expect(listed).not.toContain(String(hash));
});

test.each([
  [null, "normal"],
  ["critical", "high"],
  ["HIGH ", "high"],
  ["low", "low"],
  ["urgent", "normal"],
])("an agent that may ask for high gets, asking for %s, the class %s", (asked, given) => {
  expect(boundClass({ maxClass: "high", defaultClass: "normal" }, asked)).toBe(given);
});
