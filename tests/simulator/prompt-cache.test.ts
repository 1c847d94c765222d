import { describe, expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { HELLO, simulate } from "./simulator-client.ts";

/** About 2,000 tokens. */
const LONG = "All that is gold does not glitter. ".repeat(200);
const ephemeral = (ttl?: "5m" | "1h") => ({ type: "ephemeral" as const, ...(ttl ? { ttl } : {}) });
const text = (value: string, ttl?: "5m" | "1h") => ({
  type: "text" as const,
  text: value,
  cache_control: ephemeral(ttl),
});

async function cached(clock = new ManualClock()) {
  const { client, simulator } = await simulate({ clock });
  const ask = async (change: object) => {
    const { usage } = await client.messages.create({ ...HELLO, ...change });
    return {
      input: usage.input_tokens,
      write: usage.cache_creation_input_tokens,
      write1h: usage.cache_creation?.ephemeral_1h_input_tokens,
      read: usage.cache_read_input_tokens,
    };
  };
  return { ask, clock, simulator, client };
}

describe("the prompt cache", () => {
  test("writes a prefix once and reads it afterwards, whatever follows it", async () => {
    const { ask } = await cached();
    const first = await ask({ system: [text(LONG)] });
    expect(first).toMatchObject({ read: 0, write1h: 0 });
    expect(first.write).toBeGreaterThan(1_900);
    const second = await ask({ system: [text(LONG)], messages: [{ role: "user", content: "Something else." }] });
    expect(second).toMatchObject({ read: first.write, write: 0 });
  });

  test("forgets after five minutes, unless it was read in between", async () => {
    const { ask, clock } = await cached();
    const { write } = await ask({ system: [text(LONG)] });
    clock.advance(299_000);
    expect((await ask({ system: [text(LONG)] })).read).toBe(write);
    clock.advance(299_000);
    expect((await ask({ system: [text(LONG)] })).read).toBe(write);
    clock.advance(300_000);
    expect(await ask({ system: [text(LONG)] })).toMatchObject({ read: 0, write });
  });

  test("keeps what was written for an hour, and splits writes by time to live", async () => {
    const { ask, clock } = await cached();
    const request = { system: [text(LONG, "1h")], messages: [{ role: "user", content: [text(LONG, "5m")] }] };
    const first = await ask(request);
    expect(first.write1h).toBeGreaterThan(1_900);
    expect(first.write).toBeGreaterThan((first.write1h ?? 0) + 1_900);
    clock.advance(600_000);
    const second = await ask(request);
    expect(second).toMatchObject({ read: first.write1h, write1h: 0 });
    expect(second.write).toBe((first.write ?? 0) - (first.write1h ?? 0));
  });

  test("grows with a conversation when the request asks for automatic caching", async () => {
    const { ask } = await cached();
    const turns = [{ role: "user", content: LONG }];
    const first = await ask({ messages: turns, cache_control: ephemeral() });
    const more = [...turns, { role: "assistant", content: "Yes." }, { role: "user", content: "And then?" }];
    const second = await ask({ messages: more, cache_control: ephemeral() });
    expect(second.read).toBe(first.write);
    expect(second.write).toBeGreaterThan(0);
    expect(second.input).toBe(0);
  });

  test("does not cache what is shorter than the model's minimum", async () => {
    const { ask } = await cached();
    const request = { model: "claude-haiku-4-5", system: [text(LONG)] };
    expect(await ask(request)).toMatchObject({ write: 0, read: 0 });
    expect(await ask(request)).toMatchObject({ write: 0, read: 0 });
  });

  test("is apart for each model and speed", async () => {
    const { ask } = await cached();
    await ask({ system: [text(LONG)] });
    expect((await ask({ system: [text(LONG)], model: "claude-sonnet-5-5" })).read).toBe(0);
    expect((await ask({ system: [text(LONG)], speed: "fast" })).read).toBe(0);
  });

  test("writes count against the input limit and reads do not", async () => {
    const { ask, simulator } = await cached();
    const level = () => simulator.levels()["opus-5.5"]?.input_tokens.level ?? 0;
    const first = await ask({ system: [text(LONG)] });
    expect(level()).toBe(2_000_000 - first.input - (first.write ?? 0));
    const before = level();
    const second = await ask({ system: [text(LONG)] });
    expect(before - level()).toBe(second.input);
    expect(simulator.ledger.sums.usage).toMatchObject({
      cacheRead: second.read,
      cacheWrite5m: first.write,
      inputTokens: first.input + second.input,
    });
  });

  test("takes a split that the caller states", async () => {
    const { client } = await cached();
    const { usage } = await client.messages.create(HELLO, {
      headers: {
        "x-simulator-input-tokens": "10000",
        "x-simulator-cache-read-tokens": "7000",
        "x-simulator-cache-write-tokens": "2000",
      },
    });
    expect(usage).toMatchObject({
      input_tokens: 1_000,
      cache_read_input_tokens: 7_000,
      cache_creation: { ephemeral_5m_input_tokens: 2_000 },
    });
  });
});
