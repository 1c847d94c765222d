import { expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { HELLO, simulate } from "./simulator-client.ts";

const OUTPUT = { "x-simulator-output-tokens": "400" };

/** Reads a stream by hand, as far as asked for. */
async function reading(response: Response) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    until: async (found: (text: string) => boolean) => {
      while (!found(text)) {
        const { value, done } = (await reader?.read()) ?? { value: undefined, done: true };
        if (done) throw new Error(`the stream ended after ${text.length} characters`);
        text += value;
      }
      return text;
    },
    hangUp: () => reader?.cancel(),
  };
}

/** Characters of text that have come: four a token. */
function tokensIn(sse: string): number {
  const texts = [...sse.matchAll(/"text_delta","text":"([^"]*)"/g)].map((match) => match[1] ?? "");
  return texts.join("").length / 4;
}

test("a stream follows the simulator's clock, and its output is charged as it appears", async () => {
  const clock = new ManualClock();
  const { simulator, post } = await simulate({
    clock,
    tokensPerSecond: 100,
    limits: { "opus-5.5": { output_tokens: 600 } },
  });
  const stream = await reading(await post({ ...HELLO, stream: true }, OUTPUT));
  const level = () => simulator.levels()["opus-5.5"]?.output_tokens.level;
  expect(tokensIn(await stream.until((text) => text.includes("message_start")))).toBe(0);
  clock.advance(1_000);
  await stream.until((text) => tokensIn(text) === 100);
  expect(level()).toBe(600 + 10 - 100);
  clock.advance(2_000);
  await stream.until((text) => tokensIn(text) === 300);
  expect(level()).toBe(600 + 30 - 300);
  clock.advance(1_000);
  const whole = await stream.until((text) => text.includes("message_stop"));
  expect(tokensIn(whole)).toBe(400);
  await simulator.idle();
  expect(level()).toBe(600 + 40 - 400);
});

test("a client that hangs up ends the production, and is billed for what was made", async () => {
  const clock = new ManualClock();
  const { simulator, post } = await simulate({ clock, tokensPerSecond: 100 });
  const stream = await reading(await post({ ...HELLO, stream: true }, OUTPUT));
  clock.advance(1_500);
  await stream.until((text) => tokensIn(text) === 150);
  await stream.hangUp();
  await simulator.idle();
  clock.advance(60_000);
  expect(simulator.ledger.entries[0]).toMatchObject({
    status: 200,
    clientGone: true,
    stopReason: null,
    billed: true,
    usage: { output: 150 },
  });
  expect(simulator.ledger.sums.usage.output).toBe(150);
});

test("a client that leaves before the first token is booked as gone, with nothing made", async () => {
  const { simulator, post } = await simulate({ clock: new ManualClock(), firstTokenMs: 1_000 });
  const leaving = new AbortController();
  const asked = fetch(`${simulator.url}/v1/messages`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": "sk-ant-x", "anthropic-version": "2023-06-01" },
    body: JSON.stringify(HELLO),
    signal: leaving.signal,
  });
  while (simulator.levels()["opus-5.5"] === undefined) await post(HELLO, {}, "/v1/messages/count_tokens");
  leaving.abort();
  await expect(asked).rejects.toThrow();
  await simulator.idle();
  expect(simulator.ledger.entries.at(-1)).toMatchObject({ status: 499, clientGone: true, usage: { output: 0 } });
});

test("time runs as many times faster as it is told: latency, speed, buckets and Date alike", async () => {
  const { simulator, client } = await simulate({
    timeScale: 2_000,
    firstTokenMs: 10_000,
    tokensPerSecond: 10,
    limits: { "opus-5.5": { requests: 2 } },
  });
  const begun = Date.now();
  const { data, response } = await client.messages.create(HELLO, { headers: OUTPUT }).withResponse();
  expect(data.usage.output_tokens).toBe(400);
  // 10 s to the first token and 40 s of output went by in the simulator's time.
  expect(Date.parse(response.headers.get("date") ?? "") - begun).toBeGreaterThanOrEqual(49_000);
  // At 2 requests a minute the second request of an hour later finds a full bucket.
  expect(simulator.levels()["opus-5.5"]?.requests.level).toBe(2);
});

test("the headers are those of the admission, however long the answer takes", async () => {
  const clock = new ManualClock();
  const { simulator, post } = await simulate({ clock, firstTokenMs: 30_000, limits: { "opus-5.5": { requests: 60 } } });
  const asked = post(HELLO);
  while (simulator.levels()["opus-5.5"] === undefined) await post(HELLO, {}, "/v1/messages/count_tokens");
  clock.advance(30_000);
  const response = await asked;
  expect(response.headers.get("anthropic-ratelimit-requests-remaining")).toBe("59");
  expect(response.headers.get("anthropic-ratelimit-requests-reset")).toBe("2026-11-23T08:00:01Z");
  expect(response.headers.get("date")).toBe("Mon, 23 Nov 2026 08:00:30 GMT");
});

test("an estimate that was off is put right when the answer begins", async () => {
  const { simulator, client } = await simulate({ clock: new ManualClock(), inputEstimateError: 0.04 });
  for (let call = 0; call < 5; call += 1) {
    await client.messages.create(HELLO, { headers: { "x-simulator-input-tokens": "10000" } });
  }
  expect(simulator.levels()["opus-5.5"]?.input_tokens.level).toBe(2_000_000 - 50_000);
});

test("many calls at once are all answered, and ledger and answers agree to the token", async () => {
  const { simulator, client } = await simulate({ tier: "scale" });
  const usages = await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      const params = { ...HELLO, messages: [{ role: "user" as const, content: `Call number ${index}.` }] };
      if (index % 2 === 0) return (await client.messages.create(params)).usage;
      return (await client.messages.stream(params).finalMessage()).usage;
    }),
  );
  await simulator.idle();
  const sum = (pick: (usage: (typeof usages)[number]) => number) => usages.reduce((total, one) => total + pick(one), 0);
  expect(simulator.ledger.sums).toMatchObject({
    calls: 200,
    byStatus: { "200": 200 },
    usage: { inputTokens: sum((one) => one.input_tokens), output: sum((one) => one.output_tokens) },
  });
  expect(new Set(simulator.ledger.entries.map((entry) => entry.requestId)).size).toBe(200);
});
