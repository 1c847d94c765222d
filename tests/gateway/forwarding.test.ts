import { request as httpRequest } from "node:http";
import { describe, expect, onTestFinished, test } from "vitest";
import { DOORS, openDoor } from "../support/gateway.ts";
import { messageAnswer, messageEvents, startUpstream } from "../support/upstream.ts";

describe.each(DOORS)("through the %s door", (door) => {
  test("a plain call goes out and comes back as it is, and is recorded once with its tokens and cost", async () => {
    const text = JSON.stringify(messageAnswer({ input_tokens: 1000, output_tokens: 100 }));
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": "application/json", "request-id": "req_1", "X-Odd-Case": "kept" });
      res.end(text);
    });
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url);
    onTestFinished(gateway.close);

    const body = `{ "model":"claude-opus-5-5",  "max_tokens":10,"unknown_field":[1],"messages":[] }`;
    const answer = await fetch(`${gateway.url}/v1/messages?beta=true`, {
      method: "POST",
      headers: { "x-api-key": "sk-ant-mine", "content-type": "application/json", "anthropic-beta": "a-1,b-2" },
      body,
    });

    expect(await answer.text()).toBe(text);
    expect(answer.headers.get("x-odd-case")).toBe("kept");
    const [seen] = upstream.received;
    expect(seen?.body.toString()).toBe(body);
    expect(seen?.target).toBe("/v1/messages?beta=true");
    expect(seen?.headers).toMatchObject({ "x-api-key": "sk-ant-mine", "anthropic-beta": "a-1,b-2" });
    const call = await gateway.records.only();
    expect(call).toMatchObject({
      status: 200,
      outcome: "succeeded",
      model: "claude-opus-5-5",
      pool: "opus-5.5",
      inputTokens: 1000,
      outputTokens: 100,
      costNanoUsd: 1000 * 4_000 + 100 * 20_000,
      requestId: "req_1",
      endpoint: "/v1/messages",
      streamed: false,
    });
    expect(answer.headers.get("x-headroom-call")).toBe(call.id);
  });

  test("a stream arrives event for event and is recorded before its last chunk is", async () => {
    const events = messageEvents(["Hel", "lo"]);
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      for (const event of events) res.write(event);
      res.end();
    });
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url);
    onTestFinished(gateway.close);

    const answer = await fetch(`${gateway.url}/v1/messages`, {
      method: "POST",
      body: JSON.stringify({ model: "claude-opus-5-5", stream: true, max_tokens: 5, messages: [] }),
    });
    expect(await answer.text()).toBe(events.join(""));
    expect(gateway.records.calls).toHaveLength(1);
    expect(gateway.records.calls[0]).toMatchObject({ streamed: true, inputTokens: 25, outputTokens: 15 });
    expect(gateway.gateway.openCalls).toBe(0);
  });
});
void httpRequest;
