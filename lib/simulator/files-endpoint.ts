import { ApiError } from "./api-error.ts";
import { parseVersion } from "./api-version.ts";
import type { Exchange } from "./exchange.ts";
import { fail } from "./field.ts";
import type { StoredFile } from "./file-store.ts";
import { type Part, readParts } from "./multipart.ts";
import { pageByCursor, pageById } from "./paging.ts";
import { tooLarge } from "./request-body.ts";
import { wireId } from "./seeded.ts";
import type { SimulatorState } from "./simulator-state.ts";

const MAX_BYTES = 500 * 1024 * 1024;
const QUOTA_BYTES = 1024 ** 4;
const MAX_IDS = 100;

/**
 * `POST /v1/files`. The real API lets only files be downloaded that its own tools made; `x-simulator-downloadable: true`
 * makes an upload such a file, and only then is its content kept.
 */
export async function uploadFile(exchange: Exchange, state: SimulatorState): Promise<void> {
  const { request } = exchange;
  const keep = exchange.header("x-simulator-downloadable") === "true";
  const id = wireId("file", state.ids);
  let file: (Pick<StoredFile, "bytes" | "sha256" | "path"> & { part: Part }) | null = null;
  let expiresInSeconds: number | null = null;
  const onBytes = (total: number) => {
    if (total > MAX_BYTES) throw tooLarge(request);
  };
  for await (const part of readParts(exchange.header("content-type") ?? "", request)) {
    if (part.name === "file" && part.filename !== null && file === null) {
      file = { ...(await state.files.receive(part.body, { id, keep, onBytes })), part };
    } else if (part.name === "expires_in_seconds") {
      expiresInSeconds = parseExpiry(await readField(part));
    } else {
      fail(part.name, "Extra inputs are not permitted");
    }
  }
  if (file === null) return fail("file", "Field required");
  checkQuota(state, file.bytes);
  const createdMs = exchange.clock.now();
  const stored = state.files.add({
    id,
    filename: file.part.filename ?? "",
    mimeType: file.part.contentType ?? "application/octet-stream",
    bytes: file.bytes,
    sha256: file.sha256,
    createdMs,
    expiresMs: expiresInSeconds === null ? null : createdMs + expiresInSeconds * 1_000,
    path: file.path,
  });
  exchange.transfer = { bytes: stored.bytes, sha256: stored.sha256 };
  exchange.sendJson(200, metadata(stored));
}

/** Pages by cursor; clients of version 2023-06-01 page by ids. */
export function listFiles(exchange: Exchange, state: SimulatorState): void {
  const query = exchange.url.searchParams;
  const ids = [...query.getAll("ids[]"), ...query.getAll("ids")];
  const files = state.files.list();
  if (ids.length > 0) {
    if (new Set(ids).size > MAX_IDS) fail("ids", `List should have at most ${MAX_IDS} items`);
    const data = files.filter((file) => ids.includes(file.id)).map(metadata);
    exchange.sendJson(200, { data, next_page: null });
    return;
  }
  if (parseVersion(exchange.header("anthropic-version")) === "2023-06-01") {
    const page = pageById(files, query);
    exchange.sendJson(200, { ...page, data: page.data.map(metadata) });
    return;
  }
  const { data, next_page } = pageByCursor(files, query);
  exchange.sendJson(200, { data: data.map(metadata), next_page });
}

export function getFile(exchange: Exchange, state: SimulatorState, id: string): void {
  exchange.sendJson(200, metadata(state.files.get(id)));
}

export async function deleteFile(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  await state.files.remove(state.files.get(id));
  exchange.sendJson(200, { id, type: "file_deleted" });
}

export async function downloadFile(exchange: Exchange, state: SimulatorState, id: string): Promise<void> {
  const file = state.files.get(id);
  if (file.path === null) {
    throw new ApiError(400, "invalid_request_error", `File ${id} is not downloadable.`, {
      errorCode: "file_not_downloadable",
    });
  }
  if (file.expiresMs !== null && exchange.clock.now() >= file.expiresMs) {
    throw new ApiError(404, "not_found_error", `File ${id} has expired.`, { errorCode: "file_expired" });
  }
  exchange.transfer = { bytes: file.bytes, sha256: file.sha256 };
  exchange.writeHead(200, {
    "content-type": file.mimeType,
    "content-length": String(file.bytes),
    "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(file.filename)}`,
  });
  for await (const chunk of state.files.read(file.path)) {
    if (exchange.gone) return;
    await exchange.write(chunk);
  }
  exchange.response.end();
}

/** A part that is a short text, not a file. */
export async function readField(part: Part): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of part.body) {
    bytes += chunk.length;
    if (bytes > 64 * 1024) fail(part.name, "Input is too long");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseExpiry(text: string): number {
  const seconds = Number(text);
  if (!Number.isInteger(seconds)) fail("expires_in_seconds", "Input should be a valid integer");
  if (seconds < 1) fail("expires_in_seconds", "Input should be greater than or equal to 1");
  return seconds;
}

function checkQuota(state: SimulatorState, added: number): void {
  const used = state.files.list().reduce((sum, file) => sum + file.bytes, 0);
  if (used + added <= QUOTA_BYTES) return;
  throw new ApiError(400, "invalid_request_error", "Storage quota exceeded. Delete files to free up space.", {
    errorCode: "storage_quota_exceeded",
  });
}

function metadata(file: StoredFile): object {
  return {
    type: "file",
    id: file.id,
    size_bytes: file.bytes,
    created_at: new Date(file.createdMs).toISOString(),
    filename: file.filename,
    mime_type: file.mimeType,
    downloadable: file.path !== null,
    expires_at: file.expiresMs === null ? null : new Date(file.expiresMs).toISOString(),
  };
}
