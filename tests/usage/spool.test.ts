import { appendFileSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Database } from "../../lib/database/database.ts";
import { AppError } from "../../lib/kit/errors.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { Drain } from "../../lib/usage/drain.ts";
import { Spool } from "../../lib/usage/spool.ts";
import { callRecord } from "../support/call-record.ts";

const folder = () => mkdtempSync(join(tmpdir(), "headroom-spool-"));

/** A database that keeps rows by id, as the real one does; `refuse` stands for what makes it say no. */
function tableOf(refuse: (rows: { id: string }[]) => AppError | null = () => null) {
  const rows = new Map<string, { id: string }>();
  let batches = 0;
  const database: Database = {
    call: async (_, args, answer) => {
      if (!(args instanceof Uint8Array)) throw new Error("rows are to be sent as they stand");
      const { rows: sent }: { rows: { id: string }[] } = JSON.parse(new TextDecoder().decode(args));
      const error = refuse(sent);
      if (error) throw error;
      batches += 1;
      let inserted = 0;
      for (const row of sent) if (!rows.has(row.id)) inserted += rows.set(row.id, row) ? 1 : 0;
      return answer.parse({ inserted });
    },
  };
  return { database, rows, batches: () => batches };
}

function drainOf(spool: Spool, dir: string, database: Database): Drain {
  return new Drain({ spool, database, rejectedPath: join(dir, "rejected.jsonl"), log: silentLog });
}

test("a recorded call is on disk before record returns", () => {
  const dir = folder();
  const call = callRecord();
  new Spool(dir).record(call);
  const written = readdirSync(dir).map((name) => readFileSync(join(dir, name), "utf8"));
  expect(JSON.parse(written.join(""))).toEqual(call);
});

test("calls of a killed process reach the database with the next start, each once", async () => {
  const dir = folder();
  const killed = new Spool(dir);
  const calls = Array.from({ length: 1_200 }, () => callRecord());
  for (const call of calls) killed.record(call);
  const { database, rows } = tableOf();
  await drainOf(killed, dir, database).step();

  const restarted = new Spool(dir);
  const drain = drainOf(restarted, dir, database);
  while ((await drain.step()) > 0);
  expect([...rows.values()]).toEqual(calls);
  expect(restarted.rows).toBe(0);
  restarted.close();
  expect(readdirSync(dir)).toEqual([]);
});

test("a line torn by a crash is set aside and holds up nothing", async () => {
  const dir = folder();
  const killed = new Spool(dir);
  killed.record(callRecord());
  appendFileSync(join(dir, readdirSync(dir)[0] ?? ""), '{"id":"torn');
  const restarted = new Spool(dir);
  restarted.record(callRecord());
  const { database, rows } = tableOf();
  const drain = drainOf(restarted, dir, database);
  while ((await drain.step()) > 0);
  expect(rows.size).toBe(2);
  expect(readFileSync(join(dir, "rejected.jsonl"), "utf8")).toBe('{"id":"torn\n');
});

test("a row that the database refuses is found by halving and set aside alone", async () => {
  const dir = folder();
  const spool = new Spool(dir);
  const calls = Array.from({ length: 37 }, () => callRecord());
  const bad = calls[20]?.id;
  for (const call of calls) spool.record(call);
  const { database, rows } = tableOf((sent) =>
    sent.some((row) => row.id === bad) ? new AppError("invalid_input", "out of range") : null,
  );
  const drain = drainOf(spool, dir, database);
  while ((await drain.step()) > 0);
  expect(rows.size).toBe(36);
  expect(rows.has(bad ?? "")).toBe(false);
  expect(JSON.parse(readFileSync(join(dir, "rejected.jsonl"), "utf8")).id).toBe(bad);
});

test("a database that is away loses nothing, and the fault is told until it is back", async () => {
  const dir = folder();
  const spool = new Spool(dir);
  for (let index = 0; index < 10; index++) spool.record(callRecord());
  let away = true;
  const { database, rows } = tableOf(() => (away ? new AppError("unavailable", "connection refused") : null));
  const drain = drainOf(spool, dir, database);
  await expect(drain.step()).rejects.toThrow("connection refused");
  expect(spool.rows).toBe(10);
  away = false;
  await drain.step();
  expect(rows.size).toBe(10);
  expect(drain.fault).toBeNull();
});

test("closing the drain moves what is left", async () => {
  const dir = folder();
  const spool = new Spool(dir);
  const { database, rows } = tableOf();
  const drain = drainOf(spool, dir, database);
  drain.start();
  for (let index = 0; index < 25; index++) spool.record(callRecord());
  await drain.close();
  expect(rows.size).toBe(25);
});

test("segments are turned over, and removed when their rows are safe", async () => {
  const dir = folder();
  const spool = new Spool(dir);
  const wide = "x".repeat(190);
  for (let index = 0; index < 9_000; index++) spool.record(callRecord({ session: wide }));
  expect(readdirSync(dir).length).toBeGreaterThan(1);
  const { database, rows } = tableOf();
  const drain = drainOf(spool, dir, database);
  while ((await drain.step()) > 0);
  expect(rows.size).toBe(9_000);
  expect(readdirSync(dir).length).toBe(1);
});

test("a folder that cannot be written is refused with what to do", () => {
  const file = join(folder(), "occupied");
  appendFileSync(file, "");
  expect(() => new Spool(file)).toThrow(/calls are recorded first.*HEADROOM_DATA_DIR/);
});
