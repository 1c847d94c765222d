import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, test } from "vitest";
import { HELLO, simulate } from "./simulator-client.ts";

const withFault = (fault: string, extra: Record<string, string> = {}) => ({
  headers: { "x-simulator-fault": fault, "x-simulator-output-tokens": "100", ...extra },
});

describe("a fault", () => {
  test.each([
    ["429-windowless", 429, "rate_limit_error", null, null, "true"],
    ["spend-cap", 429, "rate_limit_error", "enforced_spend_limit_reached", null, "false"],
    ["acceleration", 429, "rate_limit_error", "ramp_limit_exceeded", expect.stringMatching(/^([5-9]|10)$/), "true"],
    ["529", 529, "overloaded_error", null, null, "true"],
    ["500", 500, "api_error", null, null, "true"],
  ])(
    "%s is answered as the API does, takes nothing and bills nothing",
    async (fault, status, type, code, after, retry) => {
      const { simulator, client } = await simulate();
      const error = await client.messages.create(HELLO, withFault(fault)).catch((thrown: unknown) => thrown);
      if (!(error instanceof Anthropic.APIError)) throw new Error("no error");
      expect([error.status, error.type, error.errorCode]).toEqual([status, type, code]);
      expect(error.headers?.get("retry-after") ?? null).toEqual(after);
      expect(error.headers?.get("x-should-retry")).toBe(retry);
      expect(error.headers?.get("anthropic-ratelimit-requests-limit") ?? null).toBeNull();
      expect(error.requestID).toBe(simulator.ledger.entries[0]?.requestId);
      expect(simulator.ledger.entries[0]).toMatchObject({
        status,
        billed: false,
        fault,
        usage: { inputTokens: 0, output: 0 },
      });
      expect(simulator.levels()["opus-5.5"]?.requests.level ?? 1_000).toBe(1_000);
    },
  );

  test("refusal comes before any output, tells usage and is not billed, but counts against the limits", async () => {
    const { simulator, client } = await simulate();
    const message = await client.messages.stream(HELLO, withFault("refusal")).finalMessage();
    expect([message.stop_reason, message.content]).toEqual(["refusal", []]);
    expect(message.stop_details).toMatchObject({ type: "refusal" });
    expect(message.usage.input_tokens).toBeGreaterThan(0);
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({
      billed: false,
      usage: { inputTokens: message.usage.input_tokens },
    });
    expect(simulator.ledger.sums).toMatchObject({ unbilledCalls: 1, usage: { inputTokens: 0 } });
  });

  test("reset breaks the connection before any header", async () => {
    const { simulator, client } = await simulate();
    await expect(client.messages.create(HELLO, withFault("reset"))).rejects.toBeInstanceOf(
      Anthropic.APIConnectionError,
    );
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({ status: 0, clientGone: false, usage: { output: 0 } });
  });

  test.each([true, false])("cut breaks the connection amid an answer (streamed: %s)", async (stream) => {
    const { simulator, client } = await simulate();
    const reading = async () => {
      const answer = await client.messages.create({ ...HELLO, stream }, withFault("cut"));
      if (Symbol.asyncIterator in answer) for await (const _event of answer);
    };
    await expect(reading()).rejects.toThrow();
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({
      status: 200,
      clientGone: false,
      stopReason: null,
      usage: { output: stream ? 50 : 100 },
    });
  });

  test("error-event ends a stream after its 200, and bills what was made", async () => {
    const { simulator, client } = await simulate();
    const error = await client.messages
      .stream(HELLO, withFault("error-event"))
      .finalMessage()
      .catch((thrown: unknown) => thrown);
    if (!(error instanceof Anthropic.APIError)) throw new Error("no error");
    expect(error.type).toBe("overloaded_error");
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({
      status: 200,
      errorType: "overloaded_error",
      usage: { output: 50 },
    });
  });

  test("stall goes silent but for pings until the client hangs up", async () => {
    const { simulator, post } = await simulate({ pingMs: 1 });
    const response = await post({ ...HELLO, stream: true }, withFault("stall").headers);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while ((text.match(/event: ping/g) ?? []).length < 4) text += (await reader?.read())?.value ?? "";
    expect(text).not.toContain("message_stop");
    await reader?.cancel();
    await simulator.idle();
    expect(simulator.ledger.entries[0]).toMatchObject({ clientGone: true, stopReason: null, usage: { output: 50 } });
  });

  test("slow-headers holds the headers back", async () => {
    const { simulator, client } = await simulate({ slowHeadersMs: 60_000, timeScale: 200 });
    const { response } = await client.messages.create(HELLO, withFault("slow-headers")).withResponse();
    const arrived = Date.parse(simulator.ledger.entries[0]?.at ?? "");
    expect(Date.parse(response.headers.get("date") ?? "") - arrived).toBeGreaterThanOrEqual(59_000);
  });

  test("meets the share of calls that it is switched on for, the same ones under the same seed", async () => {
    const runs: (number | undefined)[][] = [];
    for (let run = 0; run < 2; run += 1) {
      const { simulator, post } = await simulate({ seed: 3 });
      simulator.setFaults({ "529": 0.3, "500": 0.2 });
      for (let call = 0; call < 200; call += 1) await (await post(HELLO)).arrayBuffer();
      runs.push(simulator.ledger.entries.map((entry) => entry.status));
    }
    expect(runs[0]).toEqual(runs[1]);
    const share = (status: number) => (runs[0] ?? []).filter((seen) => seen === status).length / 200;
    expect(share(529)).toBeGreaterThan(0.2);
    expect(share(529)).toBeLessThan(0.4);
    expect(share(500)).toBeGreaterThan(0.1);
  });
});

test.each([
  ["/v1/files", "529", 529],
  ["/v1/models", "500", 500],
  ["/v1/skills", "429-windowless", 429],
  ["/v1/messages/batches/x/results", "spend-cap", 429],
])("%s meets the fault %s too", async (path, fault, status) => {
  const { simulator } = await simulate();
  const headers = { "x-api-key": "sk-ant-x", "anthropic-version": "2026-10-21", "x-simulator-fault": fault };
  const response = await fetch(simulator.url + path, { headers });
  expect(response.status).toBe(status);
  expect(simulator.ledger.entries).toMatchObject([{ status, fault, billed: false, endpoint: path }]);
});

test("a surface without a model is reset before its headers too", async () => {
  const { simulator } = await simulate();
  const headers = { "x-api-key": "sk-ant-x", "anthropic-version": "2026-10-21", "x-simulator-fault": "reset" };
  await expect(fetch(`${simulator.url}/v1/files`, { headers })).rejects.toThrow();
  await simulator.idle();
  expect(simulator.ledger.entries).toMatchObject([{ status: 0, fault: "reset" }]);
});
