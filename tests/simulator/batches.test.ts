import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { HELLO, KEY, simulate } from "./simulator-client.ts";

const HOUR_MS = 3_600_000;
const item = (customId: string, change: object = {}) => ({ custom_id: customId, params: { ...HELLO, ...change } });
const many = (count: number) => Array.from({ length: count }, (_, index) => item(`r${index}`));

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const entry of items) collected.push(entry);
  return collected;
}

describe("a batch", () => {
  test("ends in its time, answers every request once and in no order, and is booked at the batch tier", async () => {
    const clock = new ManualClock();
    const { simulator, client } = await simulate({ clock, batchMs: 60_000 });
    const batch = await client.messages.batches.create({ requests: many(40) });
    expect(batch).toMatchObject({
      type: "message_batch",
      processing_status: "in_progress",
      request_counts: { processing: 40, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
      results_url: null,
      ended_at: null,
      created_at: "2026-11-23T08:00:00.000Z",
      expires_at: "2026-11-24T08:00:00.000Z",
    });
    clock.advance(59_999);
    expect((await client.messages.batches.retrieve(batch.id)).processing_status).toBe("in_progress");
    await expect(client.messages.batches.results(batch.id)).rejects.toThrow("No batch `results_url`");
    expect(simulator.ledger.sums.batch.entries).toBe(0);
    clock.advance(1);
    const ended = await client.messages.batches.retrieve(batch.id);
    expect(ended).toMatchObject({
      processing_status: "ended",
      request_counts: { processing: 0, succeeded: 40 },
      ended_at: "2026-11-23T08:01:00.000Z",
      results_url: `${simulator.url}/v1/messages/batches/${batch.id}/results`,
    });

    const results = await collect(await client.messages.batches.results(batch.id));
    const ids = results.map((result) => result.custom_id);
    expect(ids).not.toEqual(many(40).map((request) => request.custom_id));
    expect(new Set(ids).size).toBe(40);
    const entries = simulator.ledger.entries.filter((entry) => entry.origin.kind === "batch");
    for (const { custom_id, result } of results) {
      if (result.type !== "succeeded") throw new Error(result.type);
      expect(result.message.usage.service_tier).toBe("batch");
      const entry = entries.find(({ origin }) => origin.kind === "batch" && origin.customId === custom_id);
      expect(entry).toMatchObject({ billed: true, serviceTier: "batch", model: "claude-opus-5-5", status: 200 });
      expect(entry?.usage).toMatchObject({
        inputTokens: result.message.usage.input_tokens,
        output: result.message.usage.output_tokens,
      });
    }
    const { sums } = simulator.ledger;
    expect(sums.batch.entries).toBe(40);
    expect(sums.usage).toEqual(sums.batch.usage);
    // Calls about the batch cost nothing, and its requests draw on no pool.
    expect(sums.unbilledCalls).toBe(sums.calls);
    expect(simulator.levels()["opus-5.5"]).toBeUndefined();
  });

  test("fails a request with wrong params alone, with the error that Messages would have given", async () => {
    const { simulator, client } = await simulate();
    const wrong = [
      item("fine"),
      item("model", { model: "claude-opus-9" }),
      item("limit", { max_tokens: -1 }),
      item("stream", { stream: true }),
      item("fast", { speed: "fast" }),
    ];
    const batch = await client.messages.batches.create({ requests: wrong as never });
    const lines = await collect(await client.messages.batches.results(batch.id));
    const results = new Map(lines.map((line) => [line.custom_id, line.result]));
    expect(results.get("fine")?.type).toBe("succeeded");
    expect(results.get("model")).toMatchObject({
      type: "errored",
      error: { type: "error", error: { type: "not_found_error", message: "model: claude-opus-9" } },
    });
    expect(results.get("limit")).toMatchObject({
      error: { error: { message: "max_tokens: Input should be greater than or equal to 0" } },
    });
    for (const id of ["stream", "fast"]) expect(results.get(id)?.type).toBe("errored");
    expect((await client.messages.batches.retrieve(batch.id)).request_counts).toMatchObject({
      succeeded: 1,
      errored: 4,
    });
    const billed = simulator.ledger.entries.filter((entry) => entry.billed);
    expect(billed.map((entry) => entry.origin)).toEqual([{ kind: "batch", batchId: batch.id, customId: "fine" }]);
  });

  test("cancels what has not begun, and bills what was done before", async () => {
    const clock = new ManualClock();
    const { simulator, client } = await simulate({ clock, batchMs: 100_000 });
    const batch = await client.messages.batches.create({ requests: many(100) });
    clock.advance(30_000);
    const canceling = await client.messages.batches.cancel(batch.id);
    expect(canceling).toMatchObject({
      processing_status: "canceling",
      cancel_initiated_at: "2026-11-23T08:00:30.000Z",
      request_counts: { processing: 100 },
    });
    await expect(client.messages.batches.delete(batch.id)).rejects.toBeInstanceOf(Anthropic.BadRequestError);
    clock.advance(10_000);
    const ended = await client.messages.batches.retrieve(batch.id);
    expect(ended.request_counts).toEqual({ processing: 0, succeeded: 30, errored: 0, canceled: 70, expired: 0 });
    expect(simulator.ledger.entries.filter((entry) => entry.errorType === "canceled")).toHaveLength(70);
    const results = await collect(await client.messages.batches.results(batch.id));
    expect(results.filter(({ result }) => result.type === "canceled")).toHaveLength(70);
    expect(await client.messages.batches.delete(batch.id)).toEqual({ id: batch.id, type: "message_batch_deleted" });
    await expect(client.messages.batches.retrieve(batch.id)).rejects.toBeInstanceOf(Anthropic.NotFoundError);
  });

  test("expires after a day, and its results after twenty-nine", async () => {
    const clock = new ManualClock();
    const { client } = await simulate({ clock, batchMs: 48 * HOUR_MS });
    const batch = await client.messages.batches.create({ requests: many(10) });
    clock.advance(24 * HOUR_MS);
    const ended = await client.messages.batches.retrieve(batch.id);
    expect(ended.request_counts).toMatchObject({ succeeded: 5, expired: 5 });
    clock.advance(28 * 24 * HOUR_MS);
    const archived = await client.messages.batches.retrieve(batch.id);
    expect(archived).toMatchObject({ archived_at: "2026-12-22T08:00:00.000Z", results_url: null });
  });

  test("is found page by page, newest first, by the stable client and the beta one", async () => {
    const { client } = await simulate();
    const created: string[] = [];
    for (let index = 0; index < 5; index += 1) {
      created.unshift((await client.messages.batches.create({ requests: many(1) })).id);
    }
    expect((await collect(client.messages.batches.list({ limit: 2 }))).map((batch) => batch.id)).toEqual(created);
    const beta = await collect(client.beta.messages.batches.list({ limit: 3 }));
    expect(beta.map((batch) => batch.id)).toEqual(created);
    const before = await client.messages.batches.list({ before_id: created[2], limit: 10 });
    expect(before.data.map((batch) => batch.id)).toEqual(created.slice(0, 2));
  });

  test("meets faults request by request, and takes lengths from the header of its creation", async () => {
    const { simulator, client } = await simulate({ faults: { "529": 0.5 } });
    const batch = await client.messages.batches.create(
      { requests: many(60) },
      { headers: { "x-simulator-output-tokens": "77", "x-simulator-input-tokens": "1000" } },
    );
    const { request_counts } = await client.messages.batches.retrieve(batch.id);
    expect(request_counts.succeeded).toBeGreaterThan(10);
    expect(request_counts.errored).toBe(60 - request_counts.succeeded);
    expect(simulator.ledger.sums.usage).toMatchObject({
      inputTokens: 1_000 * request_counts.succeeded,
      output: 77 * request_counts.succeeded,
    });
  });
});

describe("the batch endpoints", () => {
  test.each([
    ["no requests", { requests: [] }, "requests: List should have at least 1 item"],
    ["one id twice", { requests: [item("a"), item("a")] }, 'custom_id values must be unique, but "a" comes twice'],
    ["a wrong id", { requests: [item("a b")] }, "requests.0.custom_id: String should match pattern"],
    ["no params", { requests: [{ custom_id: "a" }] }, "requests.0.params: Field required"],
    ["an unknown field", { requests: [item("a")], priority: 1 }, "priority: Extra inputs are not permitted"],
    [
      "more than 100,000 requests",
      { requests: Array.from({ length: 100_001 }, () => 0) },
      "requests: List should have at most 100000 items",
    ],
  ])("refuse a batch with %s", async (_name, body, message) => {
    const { post } = await simulate();
    const response = await post(body, {}, "/v1/messages/batches");
    expect(response.status).toBe(400);
    expect((await response.json()).error.message).toContain(message);
  });

  test("refuse a body above 256 MB", async () => {
    const { post } = await simulate();
    const headers = { "content-type": "application/json" };
    const response = await post(Buffer.alloc(256 * 1024 * 1024 + 1, 0x20), headers, "/v1/messages/batches");
    expect([response.status, (await response.json()).error.type]).toEqual([413, "request_too_large"]);
  });

  test("limit requests a minute, and how many may wait", async () => {
    const clock = new ManualClock();
    const limits = { batches: { requests: 2 }, batch_queue: { requests: 50 } };
    const { client } = await simulate({ clock, batchMs: 60_000, limits });
    await client.messages.batches.create({ requests: many(30) });
    const full = await client.messages.batches.create({ requests: many(21) }).catch((error) => error);
    expect(full).toBeInstanceOf(Anthropic.RateLimitError);
    expect(full.apiMessage).toContain("limit of 50 batch requests in the processing queue");
    const limited = await client.messages.batches.list().catch((error: unknown) => error);
    if (!(limited instanceof Anthropic.RateLimitError)) throw new Error("not refused");
    expect(limited.headers.get("retry-after")).toBe("30");
    expect(limited.headers.get("anthropic-ratelimit-requests-limit")).toBeNull();
  });

  test("tell results by the address that the caller used", async () => {
    const { simulator } = await simulate();
    const headers = { "x-api-key": KEY, "anthropic-version": "2023-06-01", "content-type": "application/json" };
    const url = simulator.url.replace("127.0.0.1", "localhost");
    const create = await fetch(`${url}/v1/messages/batches`, {
      method: "POST",
      headers,
      body: JSON.stringify({ requests: many(1) }),
    }).then((response) => response.json());
    const batch = await fetch(`${url}/v1/messages/batches/${create.id}`, { headers }).then((answer) => answer.json());
    expect(batch.results_url).toBe(`${url}/v1/messages/batches/${create.id}/results`);
    const results = await fetch(batch.results_url, { headers });
    expect(results.headers.get("content-type")).toBe("application/x-jsonl");
    expect((await results.text()).trim().split("\n")).toHaveLength(1);
  });
});
