import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { z } from "zod";
import { createDatabase } from "../../lib/database/database.ts";
import { openFolder } from "../../lib/database/embedded/folder.ts";
import { lockFolder } from "../../lib/database/embedded/lock.ts";
import { type StartedDatabase, startEmbedded } from "../../lib/database/embedded/start-embedded.ts";
import { prepareTemplate } from "../../lib/database/embedded/template.ts";
import { readMigrations } from "../../lib/database/migrate.ts";
import { type Log, silentLog } from "../../lib/kit/log.ts";
import { UsageTotals } from "../../lib/usage/schema.ts";
import { makeCalls } from "./calls.ts";

const PARENT = fileURLToPath(new URL("./parent.ts", import.meta.url));
const Inserted = z.object({ inserted: z.int() });

let folder: string;
let opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  await prepareTemplate();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headroom-owner-"));
});
afterEach(async () => {
  await Promise.all(opened.map((started) => started.close()));
  opened = [];
  rmSync(folder, { recursive: true, force: true });
});

async function start(log: Log = silentLog): Promise<StartedDatabase> {
  const started = await startEmbedded({ dataDir: folder, log, logLevel: "error" });
  opened.push(started);
  return started;
}

test("what was recorded is there after a restart, and the folder is free after a close", async () => {
  const first = await start();
  const calls = makeCalls(50, { fromMs: Date.now() - 60_000, toMs: Date.now() });
  const rows = await createDatabase(first.address).call("calls_record", { rows: calls }, Inserted);
  expect(rows).toEqual({ inserted: 50 });
  await first.close();

  const second = await start();
  expect(await createDatabase(second.address).call("calls_record", { rows: calls }, Inserted)).toEqual({ inserted: 0 });
});

test("a second start on the same folder is refused and names the process that holds it", async () => {
  await start();
  await expect(start()).rejects.toMatchObject({
    code: "misconfigured",
    message: `The data folder ${folder} is in use by process ${holderOf(folder)}: stop it, or set HEADROOM_DATA_DIR to another folder.`,
  });
});

test("of three that start at once on a fresh folder exactly one owns it", async () => {
  const starts = await Promise.allSettled([start(), start(), start()]);
  expect(starts.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  for (const result of starts) {
    if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "misconfigured" });
  }
});

test("a file left behind by a process that is gone holds nobody up, even if its id belongs to another now", async () => {
  writeFileSync(join(folder, "database.pid"), JSON.stringify({ pid: process.pid, host: "here" }));
  writeFileSync(join(folder, "database.lock"), "");
  const started = await start();
  expect(started.address.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
});

test("of three that take over from a killed parent exactly one owns the folder", async () => {
  const parent = await startParent();
  parent.kill("SIGKILL");
  await once(parent, "exit");
  // The owner notices the end of its pipe; until then it holds the folder rightly.
  const winner = await vi.waitFor(
    async () => {
      const starts = await Promise.allSettled([start(), start(), start()]);
      const won = starts.filter((result) => result.status === "fulfilled");
      expect(won).toHaveLength(1);
      return won[0]?.value;
    },
    { timeout: 30_000 },
  );
  expect(winner).toBeDefined();
});

test("a folder that cannot be used is refused with what to do", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  await expect(startEmbedded({ dataDir: file, log: silentLog })).rejects.toMatchObject({
    code: "misconfigured",
    message: expect.stringContaining("set HEADROOM_DATA_DIR to another folder"),
  });
});

test("a database that does not open is left as it is", async () => {
  mkdirSync(join(folder, "database"));
  writeFileSync(join(folder, "database", "PG_VERSION"), "9.6\n");
  await expect(start()).rejects.toMatchObject({ code: "unavailable" });
  expect(readFileSync(join(folder, "database", "PG_VERSION"), "utf8")).toBe("9.6\n");
});

test("a first start that was interrupted is begun anew", async () => {
  mkdirSync(join(folder, "database.unfinished"));
  writeFileSync(join(folder, "database.unfinished", "PG_VERSION"), "18\n");
  const started = await start();
  await createDatabase(started.address).call("database_state", {}, z.object({ migration: z.string() }));
});

test("only whoever has the key is served, only by POST, and only functions", async () => {
  const { address } = await start();
  const ask = (path: string, init: RequestInit = {}) =>
    fetch(`${address.url}${path}`, init).then(({ status }) => status);
  const headers = { apikey: address.secretKey };
  expect(await ask("/rest/v1/rpc/calls_any", { method: "POST", headers })).toBe(200);
  expect(await ask("/rest/v1/rpc/calls_any", { method: "POST" })).toBe(401);
  expect(await ask("/rest/v1/rpc/calls_any", { method: "POST", headers: { apikey: "sb_secret_other" } })).toBe(401);
  expect(await ask("/rest/v1/rpc/calls_any", { headers })).toBe(405);
  expect(await ask("/rest/v1/calls", { method: "POST", headers })).toBe(404);
  expect(await ask("/rest/v1/rpc/pg_sleep", { method: "POST", headers, body: '{"seconds": 1}' })).toBe(404);
  expect(await ask("/rest/v1/rpc/calls_any", { method: "POST", headers, body: "[1" })).toBe(400);
});

test("an owner that is killed during ingest comes back at its address and loses no acknowledged call, twelve times over", async () => {
  let acknowledged = 0;
  for (let round = 0; round < 12; round += 1) {
    const started = await start();
    const database = createDatabase(started.address);
    const pid = holderOf(folder);
    const atMs = Date.now();
    const batches = Array.from({ length: 12 }, (_, index) =>
      makeCalls(100, { fromMs: atMs - 3_600_000, toMs: atMs }, round * 100 + index),
    );
    // All batches are under way; the end comes after another number of answers in each round.
    let answers = 0;
    const send = async (rows: unknown[]) => {
      const answer = await database.call("calls_record", { rows }, Inserted).catch(() => null);
      if (!answer) return;
      acknowledged += answer.inserted;
      answers += 1;
      if (answers === 1 + (round % 8)) process.kill(pid, "SIGKILL");
    };
    await Promise.all(batches.map(send));
    const state = () => database.call("database_state", {}, z.object({ migration: z.string() }));
    await vi.waitFor(state, { timeout: 30_000, interval: 50 });
    expect(holderOf(folder)).not.toBe(pid);
    const span = { from: new Date(atMs - 86_400_000).toISOString(), to: new Date(atMs + 60_000).toISOString() };
    const { total } = await database.call("usage_totals", { query: span }, UsageTotals);
    expect(total.calls).toBeGreaterThanOrEqual(acknowledged);

    // What the caller does after a lost answer: the same rows again. Then nothing is missing and nothing doubled.
    for (const rows of batches) await database.call("calls_record", { rows }, Inserted);
    await started.close();
    acknowledged = (round + 1) * 1200;
    expect((await stored(folder, round % 4 === 0)).calls).toBe(acknowledged);
  }
}, 180_000);

test("the owner's end is told when it cannot be brought back", async () => {
  const started = await startEmbedded({ dataDir: folder, log: silentLog, logLevel: "error", restartDelaysMs: [0, 10] });
  opened.push(started);
  const told = new Promise<string>((resolve) => started.onExit(resolve));
  const pid = holderOf(folder);
  const blocked = join(folder, "database");
  rmSync(blocked, { recursive: true, force: true });
  mkdirSync(blocked);
  writeFileSync(join(blocked, "PG_VERSION"), "9.6\n");
  process.kill(pid, "SIGKILL");
  expect(await told).toContain("does not open");
});

function holderOf(dataDir: string): number {
  return z.object({ pid: z.int() }).parse(JSON.parse(readFileSync(join(dataDir, "database.pid"), "utf8"))).pid;
}

/** What a folder holds while nobody else does. Raw calls, both sums and both histograms must agree. */
async function stored(dataDir: string, checkpoint: boolean): Promise<{ calls: number }> {
  const lock = lockFolder(dataDir);
  const engine = await openFolder(dataDir, await readMigrations());
  const [row] = await engine.transaction((session) =>
    session.query(`select
      (select count(*) from gateway.calls)::int as calls,
      (select sum(calls) from gateway.usage_1m)::int as minutes,
      (select sum(calls) from gateway.usage_1h)::int as hours,
      (select sum(output_tokens) from gateway.calls)::text as output,
      (select sum(output_tokens) from gateway.usage_1h)::text as output_hours,
      (select count(*) from gateway.calls where outcome in ('succeeded', 'partial') and not cache_hit)::int as answered,
      (select sum(n) from gateway.latency_hist_1m where metric = 'latency')::int as histogram,
      (select sum(n) from gateway.latency_hist_1h where metric = 'latency')::int as histogram_hours`),
  );
  if (checkpoint) await engine.script("checkpoint");
  await engine.close();
  lock.release();
  expect(row).toMatchObject({
    minutes: row?.calls,
    hours: row?.calls,
    output_hours: row?.output,
    histogram: row?.answered,
    histogram_hours: row?.answered,
  });
  return { calls: Number(row?.calls) };
}

/** A process that starts the database and then only waits, to be killed. */
async function startParent(): Promise<ChildProcess> {
  const parent = spawn(process.execPath, [PARENT, folder], { stdio: ["ignore", "pipe", "inherit"] });
  opened.push({ close: async () => void parent.kill("SIGKILL") });
  await once(createInterface({ input: parent.stdout }), "line");
  return parent;
}
