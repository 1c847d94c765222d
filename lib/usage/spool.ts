import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { AppError, messageOf } from "../kit/errors.ts";
import type { CallRecord } from "./schema.ts";

const SEGMENT_BYTES = 8 * 1024 * 1024;
/** A batch is not longer. */
export const MAX_BATCH_BYTES = 1024 * 1024;
const MAX_HELD = 50_000;
const NEWLINE = 0x0a;

type Segment = { path: string /** Bytes already in the database. */; read: number; size: number };

export type Batch = {
  /**
   * JSON lines as they stand in the file: the database reads them, here they would be read and written for nothing. They
   * are gone when the next batch is asked for.
   */
  lines: Buffer;
  rows: number;
  /** A line that is no JSON: the torn end of a file whose writer was killed. */
  torn: string | null;
  /** The rows are safe elsewhere. */
  commit(): void;
};

/**
 * The calls on disk before they are in the database: files of JSON lines, appended to by the gateway, read from the
 * front by the drain. A row is with the operating system when `record` returns, so killing the process loses nothing;
 * what was already in the database may be read again after that, which its key makes harmless.
 */
export class Spool {
  readonly #dir: string;
  readonly #segments: Segment[] = [];
  /** Those that this process began. */
  readonly #own = new WeakSet<Segment>();
  #fd: number | null = null;
  #sequence = 0;
  #rows = 0;
  #held: string[] = [];
  #dropped = 0;
  #fault: string | null = null;
  #wake: (() => void) | null = null;
  /** What batches are read into. A megabyte for each would be most of what a busy process holds. */
  #buffer: Buffer | null = null;

  /** Opens or creates the folder and takes up what an earlier process left in it. Throws `misconfigured`. */
  constructor(dir: string) {
    this.#dir = dir;
    try {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      for (const name of readdirSync(dir)
        .filter((entry) => /^calls-\d{8}\.jsonl$/.test(entry))
        .sort()) {
        const path = join(dir, name);
        this.#segments.push({ path, read: 0, size: statSync(path).size });
        this.#sequence = Math.max(this.#sequence, Number(name.slice(6, 14)));
        this.#rows += countLines(path);
      }
      this.#startSegment();
      probe(dir);
    } catch (error) {
      throw new AppError(
        "misconfigured",
        `cannot write to ${dir}, where calls are recorded first: ${messageOf(error)}. Free some space, mend its permissions, or set HEADROOM_DATA_DIR to another folder.`,
        { cause: error },
      );
    }
  }

  /** Rows not yet committed. */
  get rows(): number {
    return this.#rows + this.#held.length;
  }

  /** Whether everything is committed that an earlier process had left. */
  get isRecovered(): boolean {
    return this.#segments.every((segment) => segment.read >= segment.size || this.#own.has(segment));
  }

  /** What keeps rows from the disk, for people to read; null while all is well. */
  get fault(): string | null {
    return this.#fault;
  }

  /** Calls back once when a row comes. */
  onRow(callback: () => void): void {
    this.#wake = callback;
  }

  /**
   * Appends one call, and returns what was written; never throws. With a full disk rows stay in memory (50,000 of them)
   * and are tried again.
   */
  record(call: CallRecord): string {
    const json = JSON.stringify(call);
    const line = `${json}\n`;
    if (this.#held.length > 0 || !this.#append(line)) this.#hold(line);
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
    return json;
  }

  /** Tries again to write what a full disk kept in memory. */
  retry(): void {
    while (this.#held.length > 0 && this.#append(this.#held[0] ?? "")) this.#held.shift();
  }

  /** The oldest rows, up to `max`; null when there are none. Commit a batch before asking for the next. */
  next(max: number): Batch | null {
    while (this.#segments.length > 0) {
      const segment = this.#segments[0];
      if (!segment) return null;
      const current = this.#segments.length === 1;
      if (segment.read >= segment.size) {
        if (current) return null;
        this.#drop(segment);
        continue;
      }
      this.#buffer ??= Buffer.allocUnsafeSlow(MAX_BATCH_BYTES);
      const { lines, count, bytes, isEnded } = readLines(segment, max, !current, this.#buffer);
      if (count === 0) return null;
      const commit = () => {
        segment.read += bytes;
        this.#rows -= count;
      };
      if (isEnded || isJson(lines.toString())) return { lines, rows: count, torn: null, commit };
      return { lines: Buffer.alloc(0), rows: 0, torn: lines.toString(), commit };
    }
    return null;
  }

  /** Closes the files; removes the last one when everything in it is safe elsewhere. */
  close(): void {
    this.retry();
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
    for (const segment of [...this.#segments]) if (segment.read >= segment.size) this.#drop(segment);
  }

  #append(line: string): boolean {
    const segment = this.#segments.at(-1);
    if (this.#fd === null || !segment) return false;
    try {
      const written = writeSync(this.#fd, line);
      if (written < Buffer.byteLength(line)) {
        ftruncateSync(this.#fd, segment.size);
        throw new Error("no space left on device");
      }
      segment.size += written;
      this.#rows += 1;
      this.#fault = null;
      if (segment.size >= SEGMENT_BYTES) this.#startSegment();
      return true;
    } catch (error) {
      this.#fault = `calls are kept in memory, ${this.#dir} cannot be written: ${messageOf(error)}`;
      return false;
    }
  }

  #hold(line: string): void {
    if (this.#held.length < MAX_HELD) this.#held.push(line);
    else {
      this.#dropped += 1;
      this.#fault = `${this.#dropped} calls could not be recorded: ${this.#dir} cannot be written and memory for them is full`;
    }
  }

  #startSegment(): void {
    const path = join(this.#dir, `calls-${String(this.#sequence + 1).padStart(8, "0")}.jsonl`);
    const fd = openSync(path, "ax", 0o600);
    this.#sequence += 1;
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = fd;
    const segment = { path, read: 0, size: fstatSync(fd).size };
    this.#own.add(segment);
    this.#segments.push(segment);
  }

  #drop(segment: Segment): void {
    this.#segments.splice(this.#segments.indexOf(segment), 1);
    unlinkSync(segment.path);
  }
}

/** Whole lines, up to `max`; or the last line of a closed file that never got its end. */
function readLines(
  segment: Segment,
  max: number,
  closed: boolean,
  buffer: Buffer,
): { lines: Buffer; count: number; bytes: number; isEnded: boolean } {
  const fd = openSync(segment.path, "r");
  try {
    const length = readSync(fd, buffer, 0, Math.min(buffer.length, segment.size - segment.read), segment.read);
    const read = buffer.subarray(0, length);
    let count = 0;
    let bytes = 0;
    while (count < max) {
      const end = read.indexOf(NEWLINE, bytes);
      if (end < 0) break;
      count += 1;
      bytes = end + 1;
    }
    // The writer is gone: a last line without its end will never get one.
    if (count === 0 && closed && length > 0 && segment.read + length >= segment.size) {
      return { lines: read, count: 1, bytes: length, isEnded: false };
    }
    return { lines: read.subarray(0, Math.max(0, bytes - 1)), count, bytes, isEnded: true };
  } finally {
    closeSync(fd);
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function countLines(path: string): number {
  const bytes = readFileSync(path);
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines += 1;
  return lines + (bytes.length > 0 && bytes[bytes.length - 1] !== NEWLINE ? 1 : 0);
}

/** A full disk still lets an empty file be made: write some bytes to know. */
function probe(dir: string): void {
  const path = join(dir, "probe");
  const fd = openSync(path, "w", 0o600);
  try {
    const bytes = Buffer.alloc(64 * 1024);
    if (writeSync(fd, bytes) < bytes.length) throw new Error("no space left on device");
  } finally {
    closeSync(fd);
    unlinkSync(path);
  }
}
