import { request } from "node:http";
import { text } from "node:stream/consumers";
import zlib from "node:zlib";
import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, onTestFinished, test } from "vitest";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { AGENT_KEY, DOORS, type OpenDoor, openDoor } from "../support/gateway.ts";
import { messageAnswer, type Received, startUpstream } from "../support/upstream.ts";

const CREATED = "2026-11-20T08:00:00.123456Z";
const RESULTS = "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results";

/** With spaces and an order of its own: what is not the address has to stay as it is. */
function batch(resultsUrl: string | null, id = "msgbatch_1"): string {
  const url = resultsUrl === null ? "null" : `"${resultsUrl}"`;
  return `{ "id":"${id}", "created_at" : "${CREATED}","note":"results_url","results_url": ${url} ,"x":{"results_url":"${RESULTS}"}}`;
}

function line(customId: string, result: object): string {
  return `${JSON.stringify({ custom_id: customId, result })}\n`;
}

const LINES = [
  line("a", { type: "succeeded", message: messageAnswer({ input_tokens: 1000, output_tokens: 100 }) }),
  line("b", {
    type: "succeeded",
    message: messageAnswer(
      { input_tokens: 10, cache_read_input_tokens: 1000, output_tokens: 7 },
      { model: "claude-next" },
    ),
  }),
  line("c", {
    type: "errored",
    error: {
      type: "error",
      error: { type: "invalid_request_error", message: "max_tokens: required" },
      request_id: "r",
    },
  }),
  line("d", { type: "errored", error: { type: "error", error: { type: "overloaded_error", message: "" } } }),
  line("e", { type: "canceled" }),
  line("f", { type: "expired" }),
  line("g", {
    type: "succeeded",
    message: messageAnswer({ input_tokens: 9, output_tokens: 1 }, { content: [], stop_reason: "refusal" }),
  }),
];

describe.each(DOORS)("through the %s door", (door) => {
  async function open(answer: Parameters<typeof startUpstream>[0], options: Parameters<typeof openDoor>[2] = {}) {
    const upstream = await startUpstream(answer);
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url, options);
    onTestFinished(gateway.close);
    return { ...gateway, upstream };
  }

  test.each([
    ["POST", "/v1/messages/batches"],
    ["GET", "/v1/messages/batches/msgbatch_1?beta=true"],
    ["POST", "/v1/messages/batches/msgbatch_1/cancel"],
  ])("%s %s answers with results_url leading here, and no other byte changed", async (method, target) => {
    const { url, records } = await open((res) => {
      const body = batch(RESULTS);
      res.writeHead(200, { "content-type": "application/json", "content-length": body.length, "request-id": "req_1" });
      res.end(body);
    });
    const answer = await fetch(url + target, { method, body: method === "POST" ? "{}" : null });
    const expected = batch(`${url}/v1/messages/batches/msgbatch_1/results`);
    expect(await answer.text()).toBe(expected);
    expect(answer.headers.get("content-length")).toBe(String(expected.length));
    expect(answer.headers.get("request-id")).toBe("req_1");
    expect(await records.only()).toMatchObject({ method, outcome: "succeeded", costNanoUsd: 0 });
  });

  test("a page of batches has each address rewritten; those that are null stay", async () => {
    const page = (first: string, second: string) =>
      `{"data": [${batch(first)},${batch(null, "msgbatch_2")} , ${batch(second, "msgbatch_3")}],"has_more":false}`;
    const other = "https://api.anthropic.com/v1/messages/batches/msgbatch_3/results";
    const { url } = await open((res) => {
      res.writeHead(200, { "content-type": "application/json; charset=utf-8" });
      res.end(page(RESULTS, other));
    });
    const here = (address: string) => address.replace("https://api.anthropic.com", url);
    const answer = await fetch(`${url}/v1/messages/batches?limit=3`);
    expect(await answer.text()).toBe(page(here(RESULTS), here(other)));
  });

  test.each([
    ["gzip", zlib.gzipSync],
    ["deflate", zlib.deflateSync],
    ["br", zlib.brotliCompressSync],
    ["zstd", zlib.zstdCompressSync],
  ] as const)("an answer in %s stays in it, with its length", async (encoding, compress) => {
    const { url } = await open((res) => {
      const body = compress(batch(RESULTS));
      res.writeHead(200, {
        "content-type": "application/json",
        "content-encoding": encoding,
        "content-length": body.length,
      });
      res.end(body);
    });
    const answer = await fetch(`${url}/v1/messages/batches/msgbatch_1`);
    expect(answer.headers.get("content-encoding")).toBe(encoding);
    expect(await answer.text()).toBe(batch(`${url}/v1/messages/batches/msgbatch_1/results`));
  });

  test.each([
    ["a batch without results", 200, "application/json", batch(null)],
    ["an error", 404, "application/json", batch(RESULTS)],
    ["what is no JSON", 200, "text/plain", batch(RESULTS)],
    ["JSON that is cut", 200, "application/json", batch(RESULTS).slice(0, -3)],
    ["an address of something else", 200, "application/json", batch("https://example.com/elsewhere")],
    ["an answer in an unknown coding", 200, "application/json", batch(RESULTS)],
  ])("%s passes as it came", async (name, status, type, body) => {
    const { url } = await open((res) => {
      res.writeHead(status, {
        "content-type": type,
        ...(name.includes("coding") ? { "content-encoding": "x-odd" } : {}),
      });
      res.end(body);
    });
    const raw = await get(`${url}/v1/messages/batches/msgbatch_1`);
    expect(raw).toEqual({ status, body });
  });

  test("the address is the configured one where there is one", async () => {
    const { url } = await open(
      (res) => {
        res.writeHead(200, { "content-type": "application/json" });
        res.end(batch(RESULTS));
      },
      { publicUrl: "https://headroom.example:8443/" },
    );
    const { results_url: address } = JSON.parse((await get(`${url}/v1/messages/batches/msgbatch_1`)).body);
    expect(address).toBe("https://headroom.example:8443/v1/messages/batches/msgbatch_1/results");
  });

  function results(
    res: Parameters<Parameters<typeof startUpstream>[0]>[0],
    { target }: Received,
    body: Buffer | string,
  ) {
    const isResults = target.endsWith("/results");
    res.writeHead(200, { "content-type": isResults ? "application/x-jsonl" : "application/json" });
    res.end(isResults ? body : batch(RESULTS));
  }

  test("each result is a call of the batch tier at half the price, dated by its batch; only success is billed", async () => {
    const { url, records } = await open((res, received) => results(res, received, LINES.join("")));
    await get(`${url}/v1/messages/batches/msgbatch_1`);
    expect((await get(`${url}/v1/messages/batches/msgbatch_1/results`)).body).toBe(LINES.join(""));
    const calls = await records.atLeast(9);
    const rows = calls.filter(({ endpoint }) => endpoint === "/v1/messages/batches");
    const common = { startedAt: "2026-11-20T08:00:00.123Z", pool: null, serviceTier: "batch", method: "POST" };
    expect(rows).toMatchObject([
      { ...common, status: 200, outcome: "succeeded", costNanoUsd: (1000 * 4_000 + 100 * 20_000) / 2 },
      { ...common, outcome: "succeeded", inputTokens: 10, cacheReadTokens: 1000, outputTokens: 7, costNanoUsd: null },
      {
        ...common,
        status: 400,
        outcome: "refused",
        refusal: "invalid",
        errorType: "invalid_request_error",
        costNanoUsd: 0,
      },
      { ...common, status: 529, outcome: "refused", refusal: "overloaded", costNanoUsd: 0 },
      { ...common, status: null, outcome: "canceled", refusal: null, costNanoUsd: 0 },
      { ...common, status: null, outcome: "failed", refusal: "timeout", errorType: "expired", costNanoUsd: 0 },
      { ...common, outcome: "succeeded", stopReason: "refusal", inputTokens: 9, costNanoUsd: 0 },
    ]);
    expect(calls.find(({ endpoint }) => endpoint.endsWith("/results"))).toMatchObject({
      method: "GET",
      costNanoUsd: 0,
    });
  });

  test("results that are fetched twice, in pieces, compressed, or through another instance, are the same rows", async () => {
    const body = LINES.join("");
    const answer: Parameters<typeof startUpstream>[0] = (res, received) => {
      if (received.headers["x-want"] !== "pieces") return results(res, received, body);
      const packed = zlib.gzipSync(body);
      res.writeHead(200, { "content-type": "application/x-jsonl", "content-encoding": "gzip" });
      for (let at = 0; at < packed.length; at += 50) res.write(packed.subarray(at, at + 50));
      res.end();
    };
    const first = await open(answer);
    const path = "/v1/messages/batches/msgbatch_1";
    await get(first.url + path);
    await get(`${first.url}${path}/results`);
    await get(`${first.url}${path}/results`, { "x-want": "pieces" });
    const second = await open(answer);
    await get(second.url + path);
    await get(`${second.url}${path}/results`, { "x-want": "pieces" });
    expect(rowsOf(first)).toHaveLength(7);
    expect(keysOf(second)).toEqual(keysOf(first));
    expect(new Set(keysOf(first)).size).toBe(7);
  });

  test.each([null, "gzip", "zstd"])(
    "results belong to the agent that made the batch (%s), not to who fetches them",
    async (coding) => {
      const keys = new Map([
        ["hr_maker", { id: "01935f00-0000-7000-8000-00000000000a", name: "maker" }],
        ["hr_fetcher", { id: "01935f00-0000-7000-8000-00000000000b", name: "fetcher" }],
      ]);
      const pack =
        coding === "gzip" ? zlib.gzipSync : coding === "zstd" ? zlib.zstdCompressSync : (text: string) => text;
      const agentKeys = { find: (secret: string) => keys.get(secret) ?? null };
      const { url, records } = await open(
        (res, received) => {
          if (received.method !== "POST") return results(res, received, LINES.join(""));
          res.writeHead(200, { "content-type": "application/json", ...(coding && { "content-encoding": coding }) });
          res.end(pack(batch(null)));
        },
        { agentKeys },
      );
      const made = await fetch(`${url}/v1/messages/batches`, {
        ...{ method: "POST", body: "{}", headers: { "x-api-key": "hr_maker", "x-headroom-agent": "nightly" } },
      });
      expect(await made.text()).toBe(batch(null));
      await get(`${url}/v1/messages/batches/msgbatch_1/results`, { "x-api-key": "hr_fetcher" });
      const calls = await records.atLeast(9);
      const rows = calls.filter(({ serviceTier }) => serviceTier === "batch");
      expect(rows).toHaveLength(7);
      for (const row of rows) {
        expect(row).toMatchObject({ agent: "maker", agentKeyId: keys.get("hr_maker")?.id, label: "nightly" });
      }
      expect(rows.map(({ batchId }) => batchId)).toEqual(rows.map(() => "msgbatch_1"));
      expect(calls.filter(({ serviceTier }) => serviceTier === null)).toMatchObject([
        { agent: "maker", endpoint: "/v1/messages/batches", batchId: "msgbatch_1", costNanoUsd: 0 },
        { agent: "fetcher", method: "GET", batchId: null },
      ]);
    },
  );

  test("a batch that could not be made is nobody's", async () => {
    const { url, records } = await open((res) => {
      res.writeHead(400, { "content-type": "application/json" });
      res.end(batch(null));
    });
    await (await fetch(`${url}/v1/messages/batches`, { method: "POST", body: "{}" })).text();
    expect(await records.only()).toMatchObject({ outcome: "refused", batchId: null });
  });

  test("a batch that this process never heard of is asked for, with the caller's own way in", async () => {
    const { url, records, upstream } = await open((res, received) => results(res, received, LINES.join("")));
    const headers = { authorization: `Bearer ${AGENT_KEY}`, "anthropic-version": "2026-10-21", range: "bytes=0-" };
    const fetched = await get(`${url}/v1/messages/batches/msgbatch_1/results`, headers);
    expect(fetched.body).toBe(LINES.join(""));
    expect(upstream.received.map(({ target }) => target)).toEqual([
      "/v1/messages/batches/msgbatch_1/results",
      "/v1/messages/batches/msgbatch_1",
    ]);
    expect(upstream.received[1]?.headers).toMatchObject({
      "x-api-key": "sk-ant-upstream",
      "anthropic-version": "2026-10-21",
    });
    expect(upstream.received[1]?.headers.range).toBeUndefined();
    expect(await records.atLeast(8)).toHaveLength(8);
  });

  test("results of a batch whose date cannot be had pass, and are called unpriced instead of free", async () => {
    const { url, records } = await open((res, { target }) => {
      res.writeHead(target.endsWith("/results") ? 200 : 404, { "content-type": "application/x-jsonl" });
      res.end(LINES.join(""));
    });
    expect((await get(`${url}/v1/messages/batches/msgbatch_1/results`)).body).toBe(LINES.join(""));
    expect(await records.only()).toMatchObject({ outcome: "succeeded", costNanoUsd: null });
  });

  test("lines that cannot be read make the answer unpriced, and the others count", async () => {
    const body = `${LINES[0]}{"custom_id":"z","result":{"type":"odd"}}\n\r\n${LINES[2]?.trimEnd()}`;
    const { url, records } = await open((res, received) => results(res, received, body));
    await get(`${url}/v1/messages/batches/msgbatch_1`);
    await get(`${url}/v1/messages/batches/msgbatch_1/results`);
    const calls = await records.atLeast(4);
    expect(calls.map(({ status, costNanoUsd }) => [status, costNanoUsd])).toEqual([
      [200, 0],
      [200, 3_000_000],
      [400, 0],
      [200, null],
    ]);
  });

  test("with the official SDK the results come through the gateway and agree with the simulator's own books", async () => {
    const simulator = await startSimulator();
    onTestFinished(simulator.close);
    const gateway = await openDoor(door, simulator.url);
    onTestFinished(gateway.close);
    const client = new Anthropic({ apiKey: AGENT_KEY, baseURL: gateway.url, maxRetries: 0 });
    const models = ["claude-opus-5-5", "claude-haiku-5-5", "claude-sonnet-4-6"];
    const made = await client.messages.batches.create({
      requests: Array.from({ length: 40 }, (_, index) => ({
        custom_id: `request-${index}`,
        params: {
          model: models[index % 3] ?? "",
          max_tokens: index % 10 === 9 ? 0 : 200,
          messages: [{ role: "user" as const, content: `Question ${index}: ${"word ".repeat(index)}` }],
        },
      })),
    });
    for (let round = 0; round < 2; round += 1) {
      let lines = 0;
      for await (const _ of await client.messages.batches.results(made.id)) lines += 1;
      expect(lines).toBe(40);
    }
    await simulator.idle();
    const booked = simulator.ledger.entries.filter(({ origin }) => origin.kind === "batch");
    const rows = rowsOf(gateway).filter(({ id }) => id !== gateway.records.calls[0]?.id);
    expect(rows).toHaveLength(40);
    const totals = (list: { usage: Record<string, number> }[]) =>
      list.reduce<Record<string, number>>((sums, { usage }) => {
        for (const [name, value] of Object.entries(usage)) sums[name] = (sums[name] ?? 0) + value;
        return sums;
      }, {});
    const counted = rows.map((row) => ({
      usage: {
        inputTokens: row.inputTokens,
        cacheWrite5m: row.cacheWrite5mTokens,
        cacheWrite1h: row.cacheWrite1hTokens,
        cacheRead: row.cacheReadTokens,
        output: row.outputTokens,
      },
    }));
    expect(totals(counted)).toEqual(totals(booked));
    expect(rows.filter(({ outcome }) => outcome === "succeeded")).toHaveLength(36);
    expect(rows.every(({ costNanoUsd, outcome }) => (outcome === "succeeded") === (costNanoUsd ?? 0) > 0)).toBe(true);
    expect(gateway.records.calls.every(({ costNanoUsd }) => costNanoUsd !== null)).toBe(true);
  });
});

function rowsOf({ records }: OpenDoor) {
  return records.calls.filter(({ endpoint, method }) => endpoint === "/v1/messages/batches" && method === "POST");
}

function keysOf(door: OpenDoor): string[] {
  return rowsOf(door)
    .map(({ id, startedAt }) => `${startedAt} ${id}`)
    .sort();
}

/** Without decoding, and with any header. */
function get(url: string, headers: Record<string, string> = {}): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const call = request(url, { headers, agent: false }, (res) => {
      text(res).then((body) => resolve({ status: res.statusCode, body }), reject);
    });
    call.on("error", reject);
    call.end();
  });
}
