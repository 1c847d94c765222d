import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import type { Database, JsonBytes } from "../database/database.ts";
import { AppError, messageOf } from "../kit/errors.ts";
import type { Log } from "../kit/log.ts";
import { MAX_BATCH_BYTES, type Spool } from "./spool.ts";

const BATCH_ROWS = 500;
const GATHER_MS = 250;
const MAX_BACKOFF_MS = 5_000;
const PREFIX = Buffer.from('{"rows":[');
const SUFFIX = Buffer.from("]}");
const NEWLINE = 0x0a;
const COMMA = 0x2c;
const Recorded = z.object({ inserted: z.int() });

/**
 * Moves rows from the spool into the database, oldest first, and never gives one up while the database is away. A row
 * that the database refuses is set aside in a file of its own, so that it cannot hold up the others.
 */
export class Drain {
  readonly #spool: Spool;
  readonly #database: Database;
  readonly #rejectedPath: string;
  readonly #log: Log;
  #running: Promise<void> | null = null;
  #stop = new AbortController();
  #wake: () => void = () => {};
  #lastError: string | null = null;
  /** What batches are written into: the database has taken its copy of one when it is asked for the next. */
  readonly #buffer = new Uint8Array(PREFIX.length + MAX_BATCH_BYTES + SUFFIX.length);

  constructor(options: { spool: Spool; database: Database; rejectedPath: string; log: Log }) {
    this.#spool = options.spool;
    this.#database = options.database;
    this.#rejectedPath = options.rejectedPath;
    this.#log = options.log;
    this.recovered = new Promise((resolve) => {
      this.#isRecovered = resolve;
    });
  }

  /** Ends when everything is in the database that was in the spool before this process recorded anything. */
  readonly recovered: Promise<void>;
  #isRecovered: () => void = () => {};

  start(): void {
    this.#running ??= this.#run();
  }

  /** Why rows are waiting; null while the database takes them. */
  get fault(): string | null {
    return this.#lastError;
  }

  /** Stops gathering, moves what is there if the database takes it, and ends. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#running;
    try {
      while ((await this.step()) > 0);
    } catch {
      // The rows stay in the spool for the next start.
    }
  }

  /** Moves one batch and tells how many rows it had. Throws when the database is away. */
  async step(): Promise<number> {
    this.#spool.retry();
    if (this.#spool.isRecovered) this.#isRecovered();
    const batch = this.#spool.next(BATCH_ROWS);
    if (!batch) return 0;
    if (batch.torn !== null) this.#reject(batch.torn, "not a whole line");
    else await this.#insert(batch.lines);
    batch.commit();
    this.#lastError = null;
    return Math.max(1, batch.rows);
  }

  async #run(): Promise<void> {
    let backoffMs = GATHER_MS;
    while (!this.#stop.signal.aborted) {
      try {
        const moved = await this.step();
        backoffMs = GATHER_MS;
        if (moved === 0) await this.#row();
        if (moved < BATCH_ROWS) await this.#pause(GATHER_MS);
      } catch (error) {
        this.#lastError = messageOf(error);
        this.#log.warn({ error: this.#lastError, rows: this.#spool.rows }, "calls wait in the spool");
        backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
        await this.#pause(backoffMs);
      }
    }
  }

  async #insert(lines: Buffer): Promise<void> {
    try {
      await this.#database.call("calls_record", argumentsOf(lines, this.#buffer), Recorded);
    } catch (error) {
      // Only what the rows themselves are guilty of; a missing grant or a failing disk is nobody's row's fault.
      if (!(error instanceof AppError) || error.code !== "invalid_input") throw error;
      const rows = lines.toString().split("\n");
      if (rows.length === 1) return this.#reject(lines.toString(), error.message);
      const half = rows.length >> 1;
      await this.#insert(Buffer.from(rows.slice(0, half).join("\n")));
      await this.#insert(Buffer.from(rows.slice(half).join("\n")));
    }
  }

  #reject(line: string, reason: string): void {
    this.#log.error({ reason, file: this.#rejectedPath }, "a call was set aside");
    appendFileSync(this.#rejectedPath, `${line}\n`, { mode: 0o600 });
  }

  /** Ends when a row comes, or when the drain is closed. */
  #row(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#spool.onRow(resolve);
      if (this.#spool.rows > 0 || this.#stop.signal.aborted) resolve();
    });
  }

  #pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: this.#stop.signal }).catch(() => {});
  }
}

/** No line end stands within a line, so that a comma for each makes an array of them. */
function argumentsOf(lines: Buffer, buffer: JsonBytes): JsonBytes {
  const end = PREFIX.length + lines.length;
  buffer.set(PREFIX);
  buffer.set(lines, PREFIX.length);
  buffer.set(SUFFIX, end);
  const json = buffer.subarray(0, end + SUFFIX.length);
  for (let at = json.indexOf(NEWLINE); at !== -1; at = json.indexOf(NEWLINE, at + 1)) json[at] = COMMA;
  return json;
}
