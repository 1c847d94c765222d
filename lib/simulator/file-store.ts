import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ResourceStore } from "./resource-store.ts";

export type StoredFile = {
  id: string;
  filename: string;
  mimeType: string;
  bytes: number;
  sha256: string;
  createdMs: number;
  expiresMs: number | null;
  /** Where its content lies. Null for a file that may not be downloaded: of such only size and hash are kept. */
  path: string | null;
};

/** Files that were uploaded. Content never lies in memory: it is counted and hashed as it comes, or goes to disk. */
export class FileStore extends ResourceStore<StoredFile> {
  #directory: Promise<string> | null = null;

  constructor() {
    super("File");
  }

  /** Takes in a content. `onBytes` may throw to refuse it while it is still coming. */
  async receive(
    body: AsyncIterable<Buffer>,
    options: { id: string; keep: boolean; onBytes(total: number): void },
  ): Promise<Pick<StoredFile, "bytes" | "sha256" | "path">> {
    const hash = createHash("sha256");
    const path = options.keep ? join(await this.#open(), options.id) : null;
    const output = path === null ? null : createWriteStream(path);
    let bytes = 0;
    try {
      for await (const chunk of body) {
        bytes += chunk.length;
        options.onBytes(bytes);
        hash.update(chunk);
        if (output && !output.write(chunk)) await once(output, "drain");
      }
    } catch (error) {
      output?.destroy();
      if (path !== null) await rm(path, { force: true });
      throw error;
    }
    if (output) {
      output.end();
      await once(output, "close");
    }
    return { bytes, sha256: hash.digest("hex"), path };
  }

  /** The content of a file that was kept. */
  read(path: string): AsyncIterable<Buffer> {
    return createReadStream(path, { highWaterMark: 256 * 1024 });
  }

  async remove(file: StoredFile): Promise<void> {
    this.delete(file.id);
    if (file.path !== null) await rm(file.path, { force: true });
  }

  /** Takes all content off the disk. */
  async close(): Promise<void> {
    if (this.#directory) await rm(await this.#directory, { recursive: true, force: true });
    this.#directory = null;
  }

  #open(): Promise<string> {
    this.#directory ??= mkdtemp(join(tmpdir(), "headroom-simulator-"));
    return this.#directory;
  }
}
