import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import Anthropic, { toFile } from "@anthropic-ai/sdk";
import { request } from "undici";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { KEY, simulate } from "./simulator-client.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const DOWNLOADABLE = { headers: { "x-simulator-downloadable": "true" } };

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const entry of items) collected.push(entry);
  return collected;
}

/** A multipart body of one large file, made as it is sent. */
async function* largeUpload(boundary: string, bytes: number): AsyncGenerator<Buffer> {
  yield Buffer.from(
    `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="large.bin"\r\ncontent-type: application/x-large\r\n\r\n`,
  );
  const block = Buffer.alloc(1024 * 1024, "headroom");
  for (let sent = 0; sent < bytes; sent += block.length) yield block.subarray(0, Math.min(block.length, bytes - sent));
  yield Buffer.from(`\r\n--${boundary}--\r\n`);
}

function upload(url: string, bytes: number) {
  return request(`${url}/v1/files`, {
    method: "POST",
    headers: {
      "x-api-key": KEY,
      "anthropic-version": "2026-10-21",
      "content-type": "multipart/form-data; boundary=cut",
    },
    body: Readable.from(largeUpload("cut", bytes)),
  });
}

describe("a file", () => {
  test("goes up and comes down byte for byte, and the ledger knows its hash", async () => {
    const { simulator, client } = await simulate();
    // Line breaks and dashes in it look like the beginning of a delimiter.
    const bytes = Buffer.concat([randomBytes(300_000), Buffer.from("\r\n--\r\n----form"), randomBytes(1_000)]);
    const file = await client.files.upload(
      { file: await toFile(bytes, "räume 1.pdf", { type: "application/pdf" }), expires_in_seconds: 3_600 },
      DOWNLOADABLE,
    );
    expect(file).toMatchObject({
      type: "file",
      filename: "räume 1.pdf",
      mime_type: "application/pdf",
      size_bytes: bytes.length,
      downloadable: true,
    });
    expect(Date.parse(file.expires_at ?? "") - Date.parse(file.created_at)).toBe(3_600_000);
    const answer = await client.files.download(file.id);
    expect(answer.headers.get("content-type")).toBe("application/pdf");
    expect(sha256(new Uint8Array(await answer.arrayBuffer()))).toBe(sha256(bytes));
    await simulator.idle();
    const transfer = { bytes: bytes.length, sha256: sha256(bytes) };
    expect(simulator.ledger.entries).toMatchObject([
      { endpoint: "/v1/files", transfer, billed: false },
      { endpoint: `/v1/files/${file.id}/content`, transfer },
    ]);
  });

  test("that was uploaded may not be downloaded, unless it is wished", async () => {
    const { client } = await simulate();
    const file = await client.beta.files.upload({ file: await toFile(Buffer.from("x"), "a.txt") });
    expect(file.downloadable).toBe(false);
    const error = await client.beta.files.download(file.id).catch((thrown: unknown) => thrown);
    if (!(error instanceof Anthropic.BadRequestError)) throw new Error("not refused");
    expect(error.errorCode).toBe("file_not_downloadable");
  });

  test("is listed, found and deleted", async () => {
    const { client } = await simulate();
    const ids: string[] = [];
    for (let index = 0; index < 5; index += 1) {
      ids.unshift((await client.files.upload({ file: await toFile(Buffer.from("x"), `${index}.txt`) })).id);
    }
    expect((await collect(client.files.list({ limit: 2 }))).map((file) => file.id)).toEqual(ids);
    expect((await client.files.list({ ids: [ids[1] ?? "", "file_gone"] })).data.map((file) => file.id)).toEqual([
      ids[1],
    ]);
    expect(await client.files.retrieveMetadata(ids[0] ?? "")).toMatchObject({ filename: "4.txt" });
    expect(await client.files.delete(ids[0] ?? "")).toEqual({ id: ids[0], type: "file_deleted" });
    await expect(client.files.retrieveMetadata(ids[0] ?? "")).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  });

  test("is paged by ids for clients of version 2023-06-01", async () => {
    const { simulator, client } = await simulate();
    for (const name of ["a", "b", "c"]) await client.files.upload({ file: await toFile(Buffer.from("x"), name) });
    const headers = { "x-api-key": KEY, "anthropic-version": "2023-06-01" };
    const page = await fetch(`${simulator.url}/v1/files?limit=2`, { headers }).then((answer) => answer.json());
    expect(page).toMatchObject({ data: [{ filename: "c" }, { filename: "b" }], has_more: true });
    const next = await fetch(`${simulator.url}/v1/files?after_id=${page.last_id}`, { headers }).then((a) => a.json());
    expect(next).toMatchObject({ data: [{ filename: "a" }], has_more: false });
  });

  test("is gone when its time is over", async () => {
    const clock = new ManualClock();
    const { client } = await simulate({ clock });
    const file = await client.files.upload(
      { file: await toFile(Buffer.from("x"), "a"), expires_in_seconds: 60 },
      DOWNLOADABLE,
    );
    clock.advance(60_000);
    const error = await client.files.download(file.id).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ status: 404, errorCode: "file_expired" });
  });
});

describe("an upload", () => {
  test("of 500 MB is counted and hashed without being held in memory", async () => {
    const { simulator } = await simulate();
    const bytes = 500 * 1024 * 1024;
    let most = 0;
    const before = process.memoryUsage().rss;
    const watching = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 20);
    const response = await upload(simulator.url, bytes);
    clearInterval(watching);
    expect(await response.body.json()).toMatchObject({ size_bytes: bytes, filename: "large.bin" });
    expect(most - before).toBeLessThan(bytes / 2);
    const hash = createHash("sha256");
    for (let sent = 0; sent < bytes; sent += 1024 * 1024) hash.update(Buffer.alloc(1024 * 1024, "headroom"));
    expect(simulator.ledger.entries[0]?.transfer).toEqual({ bytes, sha256: hash.digest("hex") });
  });

  test("above 500 MB is refused", async () => {
    const { simulator } = await simulate();
    const response = await upload(simulator.url, 500 * 1024 * 1024 + 1).catch((error: unknown) => error);
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({ status: 413, errorType: "request_too_large" });
    // A client that is still sending may see the connection close before it reads the answer.
    if (!(response instanceof Error)) expect(response).toMatchObject({ statusCode: 413 });
  });

  test.each([
    ["no file", "", 'content-disposition: form-data; name="other"\r\n\r\nx', "other: Extra inputs are not permitted"],
    [
      "a wrong expiry",
      "",
      'content-disposition: form-data; name="expires_in_seconds"\r\n\r\nsoon',
      "expires_in_seconds: Input should be a valid integer",
    ],
    ["no end", "cut", 'content-disposition: form-data; name="file"; filename="a"\r\n\r\nx', "ends before its last"],
  ])("with %s is refused with what is wrong", async (_name, cut, part, message) => {
    const { post } = await simulate();
    const body = `--b\r\n${part}${cut ? "" : "\r\n--b--\r\n"}`;
    const response = await post(body, { "content-type": "multipart/form-data; boundary=b" }, "/v1/files");
    expect([response.status, (await response.json()).error.message]).toEqual([400, expect.stringContaining(message)]);
  });

  test("that is no multipart body is refused", async () => {
    const { post } = await simulate();
    const response = await post({}, {}, "/v1/files");
    expect((await response.json()).error.message).toContain("Content-Type must be multipart/form-data");
  });

  test("counts against the limit of all file calls", async () => {
    const { client } = await simulate({ limits: { files: { requests: 1 } }, clock: new ManualClock() });
    await client.files.list();
    await expect(client.files.list()).rejects.toBeInstanceOf(Anthropic.RateLimitError);
  });
});
