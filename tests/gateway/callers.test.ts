import { describe, expect, onTestFinished, test } from "vitest";
import { AGENT_KEY, AGENT_KEY_ID, DOORS, openDoor } from "../support/gateway.ts";
import { messageAnswer, startUpstream } from "../support/upstream.ts";

/** Whose call it is, and with which credential it goes out. */

describe.each(DOORS)("through the %s door", (door) => {
  async function call(
    headers: Record<string, string>,
    options: Parameters<typeof openDoor>[2] = {},
    more: Record<string, unknown> = {},
  ) {
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify(messageAnswer()));
    });
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url, options);
    onTestFinished(gateway.close);
    const answer = await fetch(`${gateway.url}/v1/messages`, {
      method: "POST",
      headers,
      body: JSON.stringify({ model: "claude-opus-5-5", max_tokens: 1, messages: [], ...more }),
    });
    return { answer, seen: upstream.received[0], record: await gateway.records.only() };
  }

  test.each([
    ["x-api-key", { "x-api-key": AGENT_KEY }],
    ["Authorization", { authorization: `Bearer ${AGENT_KEY}` }],
    ["both", { "x-api-key": AGENT_KEY, authorization: `Bearer ${AGENT_KEY}` }],
    ["Authorization without a scheme", { authorization: AGENT_KEY }],
    ["one beside another credential", { "x-api-key": "sk-ant-other", authorization: `bearer ${AGENT_KEY}` }],
  ])("an agent key in %s goes out as the upstream's credential, and names the agent", async (_, headers) => {
    const { seen, record } = await call({ ...headers, "x-headroom-agent": "somebody-else" }, { passThrough: false });
    expect(seen?.headers["x-api-key"]).toBe("sk-ant-upstream");
    expect(seen?.headers).not.toHaveProperty("authorization");
    expect(seen?.headers).not.toHaveProperty("x-headroom-agent");
    expect(record).toMatchObject({ agent: "night-batch", agentSource: "key", agentKeyId: AGENT_KEY_ID });
  });

  test("any other credential goes through untouched", async () => {
    const { seen } = await call({ authorization: "Bearer sk-ant-oat-1", "x-api-key": "sk-ant-2" });
    expect(seen?.headers).toMatchObject({ authorization: "Bearer sk-ant-oat-1", "x-api-key": "sk-ant-2" });
  });

  test.each([
    ["an unknown agent key", { "x-api-key": "hr_unknown" }, true],
    ["another credential where only agent keys are taken", { authorization: "Bearer sk-ant-1" }, false],
    ["no credential where only agent keys are taken", {}, false],
  ])("%s is refused as the API refuses, and not worth a retry", async (_, headers, passThrough) => {
    const { answer, seen, record } = await call(headers, { passThrough });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(await answer.json()).toMatchObject({
      type: "error",
      error: { type: "authentication_error" },
      request_id: record.id,
    });
    expect(seen).toBeUndefined();
    expect(record).toMatchObject({ outcome: "refused", refusal: "authentication", status: 401, costNanoUsd: 0 });
  });

  test("an agent key without a configured upstream credential is told what to set", async () => {
    const { answer, record } = await call({ "x-api-key": AGENT_KEY }, { apiKey: null });
    expect(answer.status).toBe(503);
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(await answer.text()).toContain("ANTHROPIC_API_KEY");
    expect(record).toMatchObject({ agent: "night-batch", outcome: "failed", refusal: "gateway_fault" });
  });

  const session = "6f1c9a52-1111-4222-8333-944445555666";
  test.each<[string, Record<string, string>, Record<string, unknown>, object]>([
    ["a label", { "x-headroom-agent": " crawler\u00ad 7 " }, {}, { agent: "crawler 7", agentSource: "label" }],
    [
      "a label in UTF-8",
      { "x-headroom-agent": Buffer.from("Prüfer 😀").toString("latin1") },
      {},
      { agent: "Prüfer 😀" },
    ],
    ["a long label", { "x-headroom-agent": "x".repeat(900) }, {}, { agent: "x".repeat(200) }],
    [
      "Claude Code by its headers",
      { "user-agent": "claude-cli/2.1.330 (external, sdk-cli)", "x-claude-code-session-id": session },
      {},
      { agent: "Claude Code", agentSource: "claude_code", session, client: "claude-cli/2.1.330 (external, sdk-cli)" },
    ],
    [
      "Claude Code's session from its metadata",
      { "user-agent": "claude-cli/2.1.330" },
      { metadata: { user_id: JSON.stringify({ device_id: "d", account_uuid: "a", session_id: session }) } },
      { agent: "Claude Code", session },
    ],
    [
      "metadata.user_id",
      { "user-agent": "Anthropic/JS 1.12.0" },
      { metadata: { user_id: "customer-\u0000\ud800 9" } },
      { agent: "customer- 9", agentSource: "user_id", client: "Anthropic/JS 1.12.0", session: null },
    ],
    [
      "the client program",
      { "user-agent": "Anthropic/JS 1.12.0" },
      {},
      { agent: "Anthropic/JS", agentSource: "client" },
    ],
    ["a client without a version", { "user-agent": "my agent" }, {}, { agent: "my agent", agentSource: "client" }],
  ])("a call is known by %s", async (_, headers, more, expected) => {
    const { record } = await call(headers, {}, more);
    expect(record).toMatchObject(expected);
    expect(record.agentKeyId).toBeNull();
  });

  test("all that a call says of who makes it is kept, whoever it is taken for", async () => {
    const said = {
      "x-headroom-agent": " crawler\u00ad 7 ",
      "x-claude-code-agent-id": "agent-3",
      "user-agent": "claude-cli/2.1.330",
    };
    const claims = { label: "crawler 7", clientAgent: "agent-3", client: "claude-cli/2.1.330" };
    const user = { metadata: { user_id: `customer-9${"x".repeat(300)}` } };
    const keyed = await call({ ...said, "x-api-key": AGENT_KEY }, {}, user);
    const userId = `customer-9${"x".repeat(190)}`;
    expect(keyed.record).toMatchObject({ agent: "night-batch", agentSource: "key", ...claims, userId });
    expect(keyed.seen?.headers).toMatchObject({ "x-claude-code-agent-id": "agent-3" });
    const disbelieved = await call(said, { believeLabels: false });
    expect(disbelieved.record).toMatchObject({ agent: "Claude Code", ...claims, userId: null });
    const silent = await call({ "user-agent": "curl/8.5.0" });
    expect(silent.record).toMatchObject({ label: null, userId: null, clientAgent: null });
  });

  test("a label is not believed where that is not allowed", async () => {
    const { record } = await call(
      { "x-headroom-agent": "payroll", "user-agent": "curl/8.5.0" },
      { believeLabels: false },
    );
    expect(record).toMatchObject({ agent: "curl", agentSource: "client" });
  });
});
