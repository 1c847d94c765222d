import { describe, expect, onTestFinished, test } from "vitest";
import { AGENT_KEY, DOORS, openDoor } from "../support/gateway.ts";
import { speak } from "../support/speak.ts";
import { messageAnswer, startUpstream } from "../support/upstream.ts";

/** Servers read some paths as others than they spell: settings and books must not depend on the spelling. */

const ODD = [
  "/v1/./messages",
  "/v1/x/../messages",
  "/v1//messages",
  "/v1/messages/",
  "/v1/%6dessages",
  "/v1/%2e/messages",
  "/v1/x%2f..%2fmessages",
  "/v1/x\\..\\messages",
  "/v1/messages;v=1",
] as const;

describe.each(DOORS)("through the %s door", (door) => {
  async function call(target: string, credential: string) {
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify(messageAnswer()));
    });
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url);
    onTestFinished(gateway.close);
    const body = JSON.stringify({ model: "claude-opus-5-5", max_tokens: 1, messages: [] });
    const head = [`POST ${target} HTTP/1.1`, "Host: here", `x-api-key: ${credential}`, "Connection: close"];
    const text = [...head, `Content-Length: ${body.length}`, "", body].join("\r\n");
    const answer = (await speak(gateway.url, [text])).toString();
    return { answer, sent: upstream.received, record: await gateway.records.only() };
  }

  // A route handler's framework has made another path of most of these before they arrive.
  const spellings = door === "web" ? ODD.filter((path) => /[;]|%6d|\/\/|\/$/.test(path)) : ODD;

  test.each(spellings)("%s of an agent is refused: its caps go by the path", async (target) => {
    const { answer, sent, record } = await call(target, AGENT_KEY);
    expect(answer).toContain(" 400 ");
    expect(answer).toContain("path must be spelt as the API spells it");
    expect(sent).toEqual([]);
    expect(record).toMatchObject({ outcome: "refused", refusal: "invalid" });
  });

  test.each(spellings)(
    "%s of a caller's own credential goes on as it is, and is counted as what it means",
    async (target) => {
      const { sent, record } = await call(target, "sk-ant-own");
      if (door !== "web") expect(sent[0]?.target).toBe(target);
      expect(record).toMatchObject({ model: "claude-opus-5-5", outcome: "succeeded" });
      expect(record.inputTokens).toBeGreaterThan(0);
    },
  );
});

test("TRACE is not forwarded, for its answer would hold the upstream's credential", async () => {
  const upstream = await startUpstream((res) => res.end());
  onTestFinished(upstream.close);
  const gateway = await openDoor("node", upstream.url);
  onTestFinished(gateway.close);
  const head = ["TRACE /v1/models HTTP/1.1", "Host: here", `x-api-key: ${AGENT_KEY}`, "Connection: close", "", ""];
  expect((await speak(gateway.url, [head.join("\r\n")])).toString()).toContain("TRACE is not forwarded");
  expect(upstream.received).toEqual([]);
});
