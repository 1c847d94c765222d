import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createAccess } from "../../lib/access/access.ts";
import { createDatabase } from "../../lib/database/database.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { Drain } from "../../lib/usage/drain.ts";
import { Spool } from "../../lib/usage/spool.ts";
import { openTestDatabase, TEST_SECRET_KEY } from "../support/database.ts";
import { openDoor } from "../support/gateway.ts";
import { Random } from "../support/random.ts";
import { startLiveUpstream } from "../support/upstream.ts";

/** How the database behaves at the moment. */
type Mood = "well" | "refuses" | "silent" | "forgets to answer";

/**
 * A minute's worth of calls while the database is away. No clock is needed for it: calls are made for as long as the
 * database is away, and would never end if they waited for it.
 */
async function world() {
  const simulator = await startSimulator({ seed: 4 });
  onTestFinished(simulator.close);
  const stored = await openTestDatabase();
  onTestFinished(stored.close);
  const folder = mkdtempSync(join(tmpdir(), "headroom-away-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const back = Promise.withResolvers<void>();
  const state = { mood: "well" as Mood };
  const moody: typeof fetch = async (input, init) => {
    if (state.mood === "refuses") throw new TypeError("fetch failed");
    if (state.mood === "silent") await back.promise;
    const answer = await stored.fetch(input, init);
    if (state.mood === "forgets to answer") throw new TypeError("terminated");
    return answer;
  };
  const database = createDatabase({ url: "http://database.test", secretKey: TEST_SECRET_KEY }, { fetch: moody });
  const open = () => {
    const spool = new Spool(folder);
    const rejectedPath = join(folder, "rejected.jsonl");
    return { spool, drain: new Drain({ spool, database, rejectedPath, log: silentLog }) };
  };
  const books = open();
  const door = await openDoor("socket", simulator.url, { recorder: { record: (call) => books.spool.record(call) } });
  onTestFinished(door.close);
  const call = async (number: number) => {
    const answer = await fetch(`${door.url}/v1/messages`, {
      method: "POST",
      headers: { "x-api-key": "sk-ant-1", "anthropic-version": "2023-06-01", "content-type": "application/json" },
      body: JSON.stringify({
        ...{ model: "claude-opus-5-5", max_tokens: 30, stream: number % 2 === 0 },
        messages: [{ role: "user", content: `Number ${number}` }],
      }),
    });
    await answer.text();
    expect(answer.status).toBe(200);
    return answer.headers.get("request-id");
  };
  const calls = async (count: number) => {
    const ids: (string | null)[] = [];
    for (let made = 0; made < count; made += 20) {
      ids.push(...(await Promise.all(Array.from({ length: 20 }, (_, index) => call(made + index)))));
    }
    return ids;
  };
  const requestIds = async () =>
    (await stored.sql("select request_id from gateway.calls")).map((row) => row.request_id);
  return { state, back, books, open, calls, requestIds, simulator };
}

test("calls go on while the database says nothing at all, and their rows arrive when it speaks again", async () => {
  const { state, back, books, calls, requestIds } = await world();
  books.drain.start();
  state.mood = "silent";
  const made = await calls(600);
  expect(await requestIds()).toEqual([]);
  expect(books.spool.rows).toBe(600);
  state.mood = "well";
  back.resolve();
  await books.drain.close();
  expect((await requestIds()).sort()).toEqual(made.sort());
  books.spool.close();
});

test("whatever the database does in between, and wherever the process ends, each call is there once", async () => {
  const { state, books, open, calls, requestIds, simulator } = await world();
  const random = new Random(77);
  const made: (string | null)[] = [];
  for (let round = 0; round < 30; round += 1) {
    state.mood = random.pick(["well", "refuses", "forgets to answer", "forgets to answer"] as const);
    made.push(...(await calls(20)));
    await books.drain.step().catch(() => {});
    if (round % 10 === 9) {
      // As after kill -9: nobody closes the spool, the next process opens what lies there.
      state.mood = "well";
      Object.assign(books, open());
    }
  }
  state.mood = "well";
  while ((await books.drain.step()) > 0);
  expect(books.spool.rows).toBe(0);
  expect(books.spool.fault).toBeNull();
  expect((await requestIds()).sort()).toEqual(made.sort());
  expect(new Set(made).size).toBe(600);
  expect(simulator.ledger.sums.calls).toBe(600);
});

test("an agent's key, caps and budget hold while the database accepts every connection and answers none", async () => {
  const simulator = await startSimulator({ seed: 4 });
  onTestFinished(simulator.close);
  const stored = await openTestDatabase();
  onTestFinished(stored.close);
  const hung = await startLiveUpstream(() => {});
  onTestFinished(hung.close);
  const state = { isHung: false, asked: 0 };
  const moody: typeof fetch = (input, init) => {
    if (!state.isHung) return stored.fetch(input, init);
    state.asked += 1;
    return fetch(hung.url, init);
  };
  const database = createDatabase({ url: "http://database.test", secretKey: TEST_SECRET_KEY }, { fetch: moody });
  const folder = mkdtempSync(join(tmpdir(), "headroom-hung-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const spool = new Spool(folder);
  onTestFinished(() => spool.close());
  const drain = new Drain({ spool, database, rejectedPath: join(folder, "rejected.jsonl"), log: silentLog });
  const access = createAccess({
    ...{ database, clock: systemClock, box: new SecretBox(Buffer.alloc(32, 7)) },
    builtIn: { baseUrl: simulator.url, apiKey: "sk-ant-upstream" },
  });
  await access.load();
  await access.refresh();
  const { secret } = await access.agentKeys.create({ name: "steady", requestsPerMinute: 50, dailyBudgetNanoUsd: 1e9 });
  const door = await openDoor("socket", simulator.url, {
    ...{ agentKeys: access.agentKeys, guard: access.guard, settings: access.settings, apiKey: "sk-ant-upstream" },
    recorder: { record: (call) => spool.record(call) },
  });
  onTestFinished(door.close);

  state.isHung = true;
  drain.start();
  const refreshing = access.refresh().catch(() => "gave up");
  const call = () =>
    fetch(`${door.url}/v1/messages`, {
      method: "POST",
      headers: { "x-api-key": secret, "anthropic-version": "2023-06-01", "content-type": "application/json" },
      body: JSON.stringify({ model: "claude-opus-5-5", max_tokens: 5, messages: [{ role: "user", content: "hi" }] }),
    }).then(async (answer) => (await answer.text()) && answer.status);
  const statuses = await Promise.all(Array.from({ length: 60 }, call));
  expect(statuses.filter((status) => status === 200)).toHaveLength(50);
  expect(statuses.filter((status) => status === 429)).toHaveLength(10);
  expect(state.asked).toBeGreaterThan(0);
  expect(spool.rows).toBe(60);

  // It gives up by itself, and what waited arrives.
  state.isHung = false;
  await refreshing;
  await drain.close();
  expect(await stored.sql("select request_id from gateway.calls")).toHaveLength(60);
});
