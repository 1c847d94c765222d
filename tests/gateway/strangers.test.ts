import type { ServerResponse } from "node:http";
import { describe, expect, onTestFinished, test } from "vitest";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { AGENT_KEY, DOORS, openDoor } from "../support/gateway.ts";
import { messageAnswer, startUpstream } from "../support/upstream.ts";

/** Callers' own credentials may be of other organisations than the operator's, which must not feel it. */

const BODY = JSON.stringify({ model: "claude-opus-5-5", max_tokens: 5, messages: [{ role: "user", content: "hi" }] });
const limits = (limit: number, remaining: number) => ({
  "anthropic-ratelimit-requests-limit": String(limit),
  "anthropic-ratelimit-requests-remaining": String(remaining),
  "anthropic-ratelimit-requests-reset": new Date(Date.now() + 60_000).toISOString(),
});

function refuse(res: ServerResponse, status: number, code: string | null, headers: Record<string, string>): void {
  const details = code === null ? {} : { details: { error_code: code } };
  const error = { type: "rate_limit_error", message: "This was refused.", ...details };
  res.writeHead(status, { "content-type": "application/json", ...headers });
  res.end(JSON.stringify({ type: "error", error }));
}

describe.each(DOORS)("through the %s door", (door) => {
  /** `answer` is a stranger's; the operator's own calls are served, with a limit of 1,000 requests. */
  async function open(answer: (res: ServerResponse, times: number) => void) {
    let strangers = 0;
    const upstream = await startUpstream((res, { headers }) => {
      if (headers["x-api-key"] === "sk-ant-stranger") {
        strangers += 1;
        answer(res, strangers);
        return;
      }
      res.writeHead(200, {
        "content-type": "application/json",
        "anthropic-organization-id": "org-ours",
        ...limits(1_000, 999),
      });
      res.end(JSON.stringify(messageAnswer()));
    });
    onTestFinished(upstream.close);
    const desk = new TrafficDesk({ controller: new TrafficController({ random: () => 0.5 }), clock: systemClock });
    onTestFinished(() => desk.close());
    const gateway = await openDoor(door, upstream.url, { traffic: desk });
    onTestFinished(gateway.close);
    const call = (key: string) =>
      fetch(`${gateway.url}/v1/messages`, { method: "POST", headers: { "x-api-key": key }, body: BODY });
    const ours = () => call(AGENT_KEY);
    const stranger = () => call("sk-ant-stranger");
    /** Of requests, at the operator's ledger. */
    const limit = () => desk.snapshot().ledgers.find((ledger) => ledger.upstream === "anthropic")?.levels[0]?.limit;
    return { ours, stranger, limit, desk };
  }

  test.each([
    ["of an organisation that it names", { "anthropic-organization-id": "org-theirs" }],
    ["of nobody knows whom", {}],
  ])("a spend cap %s stops nobody else", async (_, headers) => {
    const { ours, stranger } = await open((res) => refuse(res, 429, "enforced_spend_limit_reached", headers));
    expect((await ours()).status).toBe(200);
    const refused = await stranger();
    expect(refused.status).toBe(429);
    expect(await refused.text()).toContain("enforced_spend_limit_reached");
    expect((await ours()).status).toBe(200);
  });

  test("their limits are not taken for the operator's", async () => {
    const theirs = { "anthropic-organization-id": "org-theirs", ...limits(5, 0) };
    const { ours, stranger, limit } = await open((res) => {
      res.writeHead(200, { "content-type": "application/json", ...theirs });
      res.end(JSON.stringify(messageAnswer()));
    });
    expect((await ours()).status).toBe(200);
    const answer = await stranger();
    expect(answer.status).toBe(200);
    expect(answer.headers.get("x-headroom-upstream")).toBe("org org-thei");
    expect(limit()).toBe(1_000);
    expect((await ours()).status).toBe(200);
  });

  test("what is refused where nothing is held goes to its caller as it came", async () => {
    const theirs = { "anthropic-organization-id": "org-theirs", ...limits(5, 0), "retry-after": "1" };
    const { ours, stranger, desk } = await open((res) => refuse(res, 429, null, theirs));
    desk.setModes("observe", {});
    expect((await ours()).status).toBe(200);
    expect((await stranger()).status).toBe(429);
  });

  test("one that is refused for its own limits waits for them in a queue of its own", async () => {
    const theirs = { "anthropic-organization-id": "org-theirs" };
    const { ours, stranger } = await open((res, times) => {
      if (times === 1) return refuse(res, 429, null, { ...theirs, ...limits(5, 0), "retry-after": "1" });
      res.writeHead(200, { "content-type": "application/json", ...theirs });
      res.end(JSON.stringify(messageAnswer()));
    });
    expect((await ours()).status).toBe(200);
    expect((await stranger()).status).toBe(200);
    expect((await ours()).status).toBe(200);
  });
});
