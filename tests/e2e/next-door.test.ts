import type { IncomingMessage, ServerResponse } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import type { CallsPage } from "../../lib/usage/schema.ts";
import { anthropicProgram } from "../support/client-programs.ts";
import { differencesBetween, differencesInside, type Run, run, runThrough } from "../support/differential.ts";
import { startNextServer } from "../support/next-server.ts";
import { type TestServer, until } from "../support/server.ts";
import { messageEvents, startLiveUpstream } from "../support/upstream.ts";
import { openTap, type WireExchange, type WireTap } from "../support/wire-tap.ts";

/**
 * Headroom where no custom server can run: `next start`, a production build, Next between the agents and the gateway.
 * What Next and the Fetch standard do not let through is listed in `differential.ts`, and besides it here:
 * - of requests: the spelling of names, the body of a GET, methods other than the usual seven, paths with `//` or `%` and
 *   no digits after it, and `x-forwarded-*`, which Next sets where they are missing;
 * - of answers: the spelling of names, interim answers, trailers.
 */

const UPSTREAM_KEY = "sk-ant-test";
const QUESTION = { model: "claude-opus-5-5", max_tokens: 50, messages: [{ role: "user" as const, content: "hi" }] };

let upstream: WireTap;
let server: TestServer;
let agentKey: string;

beforeAll(async () => {
  upstream = await openTap("http://127.0.0.1:9");
  server = await startNextServer({ upstreamUrl: upstream.url, env: { ANTHROPIC_API_KEY: UPSTREAM_KEY } });
  // Waiting and trying again on an agent's behalf is not what is compared here.
  await server.api("/api/settings", { trafficMode: "off" }, "PATCH");
  agentKey = (await server.api<{ secret: string }>("/api/agents", { name: "night-batch" })).secret;
});

afterAll(async () => {
  // Neither a client that leaves nor an answer that is cut is a fault of Headroom's.
  expect(server.said()).not.toMatch(/error/i);
  await server.stop();
  await upstream.close();
});

describe.each([
  ["a credential of its own", () => UPSTREAM_KEY],
  ["an agent key", () => agentKey],
])("with %s", (_, key) => {
  test("an agent sees no difference between `next start` and the upstream, nor does the upstream", async () => {
    const straight = withoutKey(await run("straight", work(UPSTREAM_KEY)), key());
    const through = withoutKey(await runThrough("next", { url: server.url, upstream }, work(key())), key());
    expect(differencesInside(through)).toEqual([]);
    expect(differencesBetween(straight, through)).toEqual([]);
    expect(through.value).toEqual(straight.value);
  });

  test("each byte of a stream arrives when it is sent, the head before the first", async () => {
    const steps = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const events = messageEvents(["Hello"]);
    await aimAt(async (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.flushHeaders();
      await steps[0].promise;
      res.write(events[0]);
      await steps[1].promise;
      res.end(events.slice(1).join(""));
    });
    const answer = await ask(key());
    steps[0].resolve();
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toBe(events[0]);
    steps[1].resolve();
    let rest = "";
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) rest += part.value;
    expect(rest).toBe(events.slice(1).join(""));
  });

  test.each(["before the answer", "in mid-stream"])("a client that leaves %s is told to the upstream", async (when) => {
    const arrived = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    await aimAt((res) => {
      res.on("close", () => left.resolve());
      if (when === "in mid-stream") res.writeHead(200, { "content-type": "text/event-stream" }).write(": on\n\n");
      arrived.resolve();
    });
    const client = new AbortController();
    const asking = ask(key(), client.signal);
    if (when === "in mid-stream") await (await asking).body?.getReader().read();
    await arrived.promise;
    const ended = asking.then(() => null).catch(() => null);
    client.abort();
    await Promise.all([ended, left.promise]);
  });

  test("every call is in the books with what the upstream billed", async () => {
    const simulator = await startSimulator({ tokensPerSecond: 4_000, firstTokenMs: 1 });
    onTestFinished(() => simulator.close());
    await upstream.aim(simulator.url);
    const client = new Anthropic({ baseURL: server.url, apiKey: key(), maxRetries: 0 });
    const plain = await client.messages.create(QUESTION).withResponse();
    const streamed = await client.messages.create({ ...QUESTION, stream: true }).withResponse();
    for await (const _ of streamed.data);
    for (const [index, { response }] of [plain, streamed].entries()) {
      const id = response.headers.get("x-headroom-call");
      const row = await until("the call's row", async () =>
        (await server.api<CallsPage>("/api/calls")).calls.find((call) => call.id === id),
      );
      const { requestId, usage } = simulator.ledger.entries[index] ?? {};
      expect(row).toMatchObject({ requestId, status: 200, outcome: "succeeded", streamed: index === 1 });
      expect([row.inputTokens, row.outputTokens]).toEqual([usage?.inputTokens, usage?.output]);
      if (key() === agentKey) expect(row).toMatchObject({ agent: "night-batch", agentSource: "key" });
    }
  });
});

test("a path that ends in a slash is the upstream's to judge, too", async () => {
  const sent: (string | undefined)[] = [];
  await aimAt((res, req) => {
    sent.push(req.url);
    res.end();
  });
  expect((await fetch(`${server.url}/v1/models/`, { redirect: "manual" })).status).toBe(200);
  expect(sent).toEqual(["/v1/models/"]);
});

/** The official SDK's whole surface, and by hand what it does not do. */
function work(key: string) {
  const program = anthropicProgram(Anthropic, key);
  return async (url: string) => {
    const headers = { "x-api-key": key, "anthropic-version": "2023-06-01", "content-type": "application/json" };
    const by = async (method: string, path: string, body?: string) => {
      const answer = await fetch(url + path, { method, headers, body: body ?? null });
      return [answer.status, await answer.text()];
    };
    return [
      await program(url),
      await by("HEAD", "/api/hello"),
      await by("OPTIONS", "/v1/messages"),
      await by("HEAD", "/v1/models"),
      await by("PUT", "/v1/messages"),
      await by("DELETE", "/v1/files/none"),
      await by("GET", "/v1/models?limit=2&after_id=a%20b&x=%27"),
      // Longer than what Next holds of a body.
      await by("POST", "/v1/messages", JSON.stringify({ ...QUESTION, system: "x".repeat(11_000_000) })),
    ];
  };
}

/** That an agent key and the upstream's credential differ, and where they stand, is what agent keys are for. */
function withoutKey(of: Run, key: string): Run {
  if (key === UPSTREAM_KEY) return of;
  const masked = ({ request, ...exchange }: WireExchange): WireExchange => {
    const headers = request.headers.filter(([, value]) => !value.endsWith(key) && !value.endsWith(UPSTREAM_KEY));
    return { ...exchange, request: { ...request, headers } };
  };
  return { ...of, client: of.client.map(masked), upstream: of.upstream.map(masked) };
}

async function aimAt(answer: (res: ServerResponse, req: IncomingMessage) => unknown): Promise<void> {
  const live = await startLiveUpstream((req, res) => {
    req.resume();
    answer(res, req);
  });
  onTestFinished(live.close);
  await upstream.aim(live.url);
}

function ask(key: string, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(`${server.url}/v1/messages`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": "application/json" },
    body: JSON.stringify({ ...QUESTION, stream: true }),
    signal,
  });
}
