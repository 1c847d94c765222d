import Anthropic from "@anthropic-ai/sdk";
import type { BetaManagedAgentsStreamSessionEvents as StreamEvent } from "@anthropic-ai/sdk/resources/beta/sessions";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import type { SimulatorOptions } from "../../lib/simulator/simulator.ts";
import { simulate } from "./simulator-client.ts";

const TOOL = {
  type: "custom" as const,
  name: "get_weather",
  description: "Weather of a city",
  input_schema: { type: "object" as const, properties: { city: { type: "string" } }, required: ["city"] },
};
const say = (text: string) => ({ type: "user.message" as const, content: [{ type: "text" as const, text }] });

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const entry of items) collected.push(entry);
  return collected;
}

async function inSession(options: SimulatorOptions = {}, tools: (typeof TOOL)[] = []) {
  const { simulator, client } = await simulate(options);
  const agent = await client.beta.agents.create({
    name: "scout",
    model: "claude-opus-5-5",
    system: "Be brief.",
    tools,
  });
  const environment = await client.beta.environments.create({ name: "box" });
  const session = await client.beta.sessions.create({ agent: agent.id, environment_id: environment.id });
  return { simulator, client, agent, environment, session };
}

/** Events of a stream up to one that is looked for. */
async function until(stream: AsyncIterator<StreamEvent>, type: string): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for (;;) {
    const { value, done } = await stream.next();
    if (done) throw new Error(`the stream ended after ${events.map((event) => event.type)}`);
    events.push(value);
    if (value.type === type) return events;
  }
}

describe("agents", () => {
  test("are made, changed version by version, and archived", async () => {
    const { client } = await simulate();
    const agent = await client.beta.agents.create({
      name: "scout",
      model: { id: "claude-opus-5-5", speed: "fast", effort: "high" },
      metadata: { team: "a", old: "x" },
      tools: [{ type: "agent_toolset_20260401", configs: [{ name: "bash", enabled: false }] }],
    });
    expect(agent).toMatchObject({
      type: "agent",
      version: 1,
      model: { id: "claude-opus-5-5", speed: "fast", effort: { type: "high" } },
      tools: [
        {
          configs: [{ type: "bash", name: "bash", enabled: false, permission_policy: { type: "always_allow" } }],
          default_config: { enabled: true },
        },
      ],
    });
    const changed = await client.beta.agents.update(agent.id, {
      version: 1,
      system: "Be brief.",
      metadata: { old: null, new: "y" },
    });
    expect(changed).toMatchObject({
      version: 2,
      system: "Be brief.",
      metadata: { team: "a", new: "y" },
      name: "scout",
    });
    const late = client.beta.agents.update(agent.id, { version: 1, name: "late" });
    await expect(late).rejects.toBeInstanceOf(Anthropic.ConflictError);
    expect((await client.beta.agents.retrieve(agent.id, { version: 1 })).system).toBeNull();
    const versions = await collect(client.beta.agents.versions.list(agent.id, { limit: 1 }));
    expect(versions.map((entry) => entry.version)).toEqual([2, 1]);
    expect((await client.beta.agents.archive(agent.id)).archived_at).not.toBeNull();
    expect(await collect(client.beta.agents.list())).toEqual([]);
    expect(await collect(client.beta.agents.list({ include_archived: true }))).toHaveLength(1);
  });

  test("need their beta, a model that exists, and keep to their limits", async () => {
    const { client, post } = await simulate({ limits: { agents_create: { requests: 2 } }, clock: new ManualClock() });
    expect((await post({ name: "x", model: "claude-opus-5-5" }, {}, "/v1/agents")).status).toBe(400);
    const unknown = client.beta.agents.create({ name: "x", model: "claude-opus-9" });
    await expect(unknown).rejects.toThrow("unknown model: claude-opus-9");
    await client.beta.agents.create({ name: "x", model: "claude-opus-5-5" });
    const third = client.beta.agents.create({ name: "x", model: "claude-opus-5-5" });
    await expect(third).rejects.toBeInstanceOf(Anthropic.RateLimitError);
    expect(await collect(client.beta.agents.list())).toHaveLength(1);
  });
});

test("environments are made, changed, archived and deleted", async () => {
  const { client } = await simulate();
  const environment = await client.beta.environments.create({
    name: "box",
    config: { type: "cloud", networking: { type: "limited", allowed_hosts: ["a.example"] }, packages: { npm: ["x"] } },
  });
  expect(environment.config).toEqual({
    type: "cloud",
    networking: {
      type: "limited",
      allow_mcp_servers: false,
      allow_package_managers: false,
      allowed_hosts: ["a.example"],
    },
    packages: { type: "packages", apt: [], cargo: [], gem: [], go: [], npm: ["x"], pip: [] },
  });
  const { id } = environment;
  expect(await client.beta.environments.update(id, { description: "small" })).toMatchObject({ description: "small" });
  const other = await client.beta.environments.update(id, { config: { type: "self_hosted" } }).catch((error) => error);
  expect(other.errorCode).toBe("invalid_config_type_change");
  await client.beta.environments.archive(id);
  const archived = await client.beta.environments.update(id, { name: "x" }).catch((error) => error);
  expect(archived.errorCode).toBe("environment_archived");
  expect(await client.beta.environments.delete(id)).toEqual({ id, type: "environment_deleted" });
  const gone = await client.beta.environments.retrieve(id).catch((error) => error);
  expect([gone.status, gone.errorCode]).toEqual([404, "environment_not_found"]);
});

describe("a session", () => {
  test("answers a message with events, streamed and listed alike, and its tokens are in the books", async () => {
    const { simulator, client, session } = await inSession();
    const stream = (await client.beta.sessions.events.stream(session.id))[Symbol.asyncIterator]();
    const sent = await client.beta.sessions.events.send(session.id, { events: [say("Hello")] });
    expect(sent.data).toMatchObject([
      { type: "user.message", processed_at: null, id: expect.stringMatching(/^sevt_/) },
    ]);
    const events = await until(stream, "session.status_idle");
    expect(events.map((event) => event.type)).toEqual([
      "user.message",
      "session.status_running",
      "span.model_request_start",
      "agent.message",
      "span.model_request_end",
      "session.status_idle",
    ]);
    expect(events.at(-1)).toMatchObject({ stop_reason: { type: "end_turn" } });
    const listed = await collect(client.beta.sessions.events.list(session.id, { limit: 2 }));
    expect(listed).toEqual(events);
    const only = await collect(client.beta.sessions.events.list(session.id, { types: ["agent.message"] }));
    expect(only).toHaveLength(1);

    const span = events.find((event) => event.type === "span.model_request_end");
    const entry = simulator.ledger.entries.find(({ origin }) => origin.kind === "session");
    expect(entry).toMatchObject({ billed: true, model: "claude-opus-5-5", origin: { sessionId: session.id } });
    expect(span?.model_usage).toMatchObject({
      input_tokens: entry?.usage.inputTokens,
      output_tokens: entry?.usage.output,
    });
    const after = await client.beta.sessions.retrieve(session.id);
    expect(after).toMatchObject({ status: "idle", usage: { output_tokens: entry?.usage.output } });
    expect(simulator.ledger.sums).toMatchObject({ session: { entries: 1 }, usage: { output: entry?.usage.output } });
    // Inference in a session draws on the ordinary limits.
    expect(simulator.levels()["opus-5.5"]?.requests.level).toBeLessThan(1_000);
  });

  test("tells its text as it is made to whom asks for that, and the whole is the same", async () => {
    const clock = new ManualClock();
    const { client, session } = await inSession({ clock, tokensPerSecond: 100 });
    const open = await client.beta.sessions.events.stream(session.id, { event_deltas: ["agent.message"] });
    const stream = open[Symbol.asyncIterator]();
    await client.beta.sessions.events.send(
      session.id,
      { events: [say("Hello")] },
      { headers: { "x-simulator-output-tokens": "200" } },
    );
    await until(stream, "span.model_request_start");
    clock.advance(1_000);
    const first = await until(stream, "event_delta");
    clock.advance(1_000);
    const rest = await until(stream, "session.status_idle");
    const deltas = [...first, ...rest].flatMap((event) => (event.type === "event_delta" ? [event] : []));
    expect(deltas.length).toBeGreaterThan(1);
    const message = rest.find((event) => event.type === "agent.message");
    expect(deltas.map((event) => event.delta.content.text).join("")).toBe(
      message?.content.map((block) => (block.type === "text" ? block.text : "")).join(""),
    );
    expect(new Set(deltas.map((event) => event.event_id))).toEqual(new Set([message?.id]));
  });

  test("asks for a tool's result, and goes on with it", async () => {
    const { client, session } = await inSession({}, [TOOL]);
    const stream = (await client.beta.sessions.events.stream(session.id))[Symbol.asyncIterator]();
    const ask = say('use the tool get_weather with {"city":"Bern"}');
    await client.beta.sessions.events.send(session.id, { events: [ask] });
    const asked = await until(stream, "session.status_idle");
    const use = asked.find((event) => event.type === "agent.custom_tool_use");
    expect(use).toMatchObject({ name: "get_weather", input: { city: "Bern" } });
    expect(asked.at(-1)).toMatchObject({ stop_reason: { type: "requires_action", event_ids: [use?.id] } });
    const result = {
      type: "user.custom_tool_result" as const,
      custom_tool_use_id: use?.id ?? "",
      content: [{ type: "text" as const, text: "Sunny." }],
    };
    await client.beta.sessions.events.send(session.id, { events: [result] });
    const answered = await until(stream, "session.status_idle");
    expect(answered.map((event) => event.type)).toContain("agent.message");
    expect(answered.at(-1)).toMatchObject({ stop_reason: { type: "end_turn" } });
  });

  test("is interrupted, and bills what was made", async () => {
    const clock = new ManualClock();
    const { simulator, client, session } = await inSession({ clock, tokensPerSecond: 10 });
    const stream = (await client.beta.sessions.events.stream(session.id))[Symbol.asyncIterator]();
    await client.beta.sessions.events.send(
      session.id,
      { events: [say("Hello")] },
      { headers: { "x-simulator-output-tokens": "500" } },
    );
    await until(stream, "span.model_request_start");
    clock.advance(3_000);
    await client.beta.sessions.events.send(session.id, { events: [{ type: "user.interrupt" }] });
    await until(stream, "session.status_idle");
    const entry = simulator.ledger.entries.find(({ origin }) => origin.kind === "session");
    expect(entry).toMatchObject({ stopReason: null, usage: { output: 30 } });
  });

  test("waits when the model's limit is reached, tells so, and answers after it", async () => {
    const clock = new ManualClock();
    const { simulator, client, session } = await inSession({ clock, limits: { "opus-5.5": { requests: 60 } } });
    simulator.drain("opus-5.5", { requests: 60 });
    const stream = (await client.beta.sessions.events.stream(session.id))[Symbol.asyncIterator]();
    await client.beta.sessions.events.send(session.id, { events: [say("Hello")] });
    const refused = await until(stream, "session.error");
    expect(refused.at(-1)).toMatchObject({
      error: { type: "model_rate_limited_error", retry_status: { type: "retrying" } },
    });
    clock.advance(1_000);
    await until(stream, "agent.message");
  });

  test("is listed, changed, given resources, archived and deleted, and its streams end with it", async () => {
    const { client, session, agent } = await inSession();
    expect(await client.beta.sessions.update(session.id, { title: "T", metadata: { a: "b" } })).toMatchObject({
      title: "T",
      metadata: { a: "b" },
      agent: { id: agent.id, version: 1, name: "scout" },
    });
    const resource = await client.beta.sessions.resources.add(session.id, { type: "file", file_id: "file_1" });
    expect(await collect(client.beta.sessions.resources.list(session.id))).toEqual([resource]);
    await client.beta.sessions.resources.delete(resource.id, { session_id: session.id });
    expect((await client.beta.sessions.retrieve(session.id)).resources).toEqual([]);
    const open = await client.beta.sessions.events.stream(session.id);
    const all = collect(open);
    expect((await client.beta.sessions.archive(session.id)).status).toBe("terminated");
    expect((await all).map((event) => event.type)).toEqual(["session.status_terminated"]);
    expect(await collect(client.beta.sessions.list())).toEqual([]);
    expect(await collect(client.beta.sessions.list({ include_archived: true }))).toHaveLength(1);
    await expect(client.beta.sessions.events.send(session.id, { events: [say("x")] })).rejects.toThrow("terminated");
    expect(await client.beta.sessions.delete(session.id)).toEqual({ id: session.id, type: "session_deleted" });
  });

  test("starts with the events of its creation, and goes on when nobody listens", async () => {
    const { simulator, client, agent, environment } = await inSession();
    const session = await client.beta.sessions.create({
      agent: { type: "agent_with_overrides", id: agent.id, model: "claude-sonnet-5-5" },
      environment_id: environment.id,
      initial_events: [say("Hello")],
    });
    await simulator.idle();
    const events = await collect(client.beta.sessions.events.list(session.id));
    expect(events.at(-1)?.type).toBe("session.status_idle");
    expect(simulator.ledger.entries.find(({ origin }) => origin.kind === "session")?.model).toBe("claude-sonnet-5-5");
  });

  test("sends pings while nothing happens", async () => {
    const clock = new ManualClock();
    const { simulator, session } = await inSession({ clock, pingMs: 1_000 });
    const headers = {
      "x-api-key": "sk-ant-x",
      "anthropic-version": "2026-10-21",
      "anthropic-beta": "managed-agents-2026-04-01",
    };
    const response = await fetch(`${simulator.url}/v1/sessions/${session.id}/events/stream`, { headers });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    clock.advance(1_000);
    expect((await reader?.read())?.value).toBe('event: ping\ndata: {"type": "ping"}\n\n');
    await reader?.cancel();
    await simulator.idle();
  });
});
