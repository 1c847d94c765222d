import { once } from "node:events";
import { createServer } from "node:net";
import Anthropic from "@anthropic-ai/sdk";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Alert, Notification, Rule } from "../../lib/alerts/schema.ts";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import { replayTrace, type TraceCall } from "../../lib/simulator/trace.ts";
import type { CallsPage } from "../../lib/usage/schema.ts";
import { makeDataDir, startServer, type TestServer, until } from "../support/server.ts";
import { type Mailbox, openMailbox } from "../support/smtp.ts";
import { openWebhookReceiver, type WebhookReceiver } from "../support/webhook-receiver.ts";

const MODEL = "claude-sonnet-5-5";
const LIMIT = 600_000;

let simulator: Simulator;
let server: TestServer;
let receiver: WebhookReceiver;
let mailbox: Mailbox;
let env: Record<string, string>;
const dataDir = makeDataDir();
let secret = "";
/** Request ids of the answers that the client had in full. */
const answered: string[] = [];

beforeAll(async () => {
  simulator = await startSimulator({
    ...{ seed: 3, tokensPerSecond: 2_000, firstTokenMs: 20 },
    limits: { "sonnet-5.5": { requests: 10_000, input_tokens: LIMIT, output_tokens: 200_000 } },
  });
  receiver = await openWebhookReceiver();
  mailbox = await openMailbox();
  env = {
    PORT: String(await freePort()),
    SMTP_URL: mailbox.url,
    HEADROOM_MAIL_FROM: "Headroom <headroom@example.com>",
  };
  server = await startServer({ upstreamUrl: simulator.url, dataDir, env });
});

afterAll(async () => {
  await server.stop();
  await Promise.all([simulator.close(), receiver.close(), mailbox.close()]);
});

test("a trace that crosses 80 % fires once and resolves once, also when the process is killed in between", async () => {
  const { rules } = await server.api<{ rules: Rule[] }>("/api/rules");
  await server.api(`/api/rules/${rules[0]?.id}`, { pendingSeconds: 2, recoverySeconds: 4 }, "PATCH");
  const hook = await server.api<{ secret: string }>("/api/channels", {
    ...{ kind: "webhook", name: "on-call", settings: { url: receiver.url } },
  });
  secret = hook.secret;
  await server.api("/api/channels", { kind: "email", name: "ops", settings: { to: ["ops@example.com"] } });

  const client = new Anthropic({ baseURL: server.url, apiKey: "sk-ant-test", maxRetries: 8 });
  const failed: unknown[] = [];
  const replay = replayTrace({
    calls: risingTrace(),
    ...{ client, model: MODEL, speed: 1, signal: new AbortController().signal },
    onAnswer: (requestId) => answered.push(requestId ?? "none"),
    onError: (error) => failed.push(error),
  });

  const peak = await until("the gauge above 80 %", async () => {
    const { limits } = await server.api<{ limits: { limiter: string; pool: string; utilisation: number }[] }>(
      "/api/limits",
    );
    return limits.find(
      ({ limiter, pool, utilisation }) => limiter === "input_tokens" && pool === "sonnet-5.5" && utilisation >= 0.8,
    );
  });
  expect(peak.utilisation).toBeLessThan(1.05);
  await receiver.waitFor(1);
  await mailbox.waitFor(1);
  // A kill between a delivery and its record is a test of the outbox; here the notices are known to be told.
  await until("both notices recorded as delivered", async () => {
    const { notifications } = await server.api<{ notifications: Notification[] }>("/api/notifications");
    return notifications.length === 2 && notifications.every(({ state }) => state === "delivered");
  });
  await server.kill();
  server = await startServer({ upstreamUrl: simulator.url, dataDir, env });
  await replay;

  expect(failed).toEqual([]);
  expect(answered).toHaveLength(risingTrace().length);
  await receiver.waitFor(2);
  await mailbox.waitFor(2);

  const { alerts } = await until("the alert resolved", async () => {
    const found = await server.api<{ alerts: Alert[] }>("/api/alerts");
    return found.alerts[0]?.state === "resolved" && found;
  });
  expect(alerts).toHaveLength(1);
  expect(alerts[0]).toMatchObject({ pool: "sonnet-5.5", limiter: "input_tokens", limit: LIMIT, limitSource: "header" });
  const { notifications } = await server.api<{ notifications: Notification[] }>("/api/notifications");
  expect(notifications.map(({ event, channelKind, state }) => `${event} ${channelKind} ${state}`).sort()).toEqual([
    "alert.firing email delivered",
    "alert.firing webhook delivered",
    "alert.resolved email delivered",
    "alert.resolved webhook delivered",
  ]);
});

test("every call whose answer had arrived is in the database once, also those before the kill", async () => {
  const calls = await until("the spool drained", async () => {
    const { gateway } = await server.api<{ gateway: { spoolRows: number } }>("/api/state");
    return gateway.spoolRows === 0 && allCalls();
  });
  const ids = calls.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const byRequest = new Map(calls.map((call) => [call.requestId, call]));
  const billed = new Map(simulator.ledger.entries.map((entry) => [entry.requestId, entry.usage]));
  for (const requestId of answered) {
    const usage = billed.get(requestId);
    expect(byRequest.get(requestId)).toMatchObject({ inputTokens: usage?.inputTokens, outputTokens: usage?.output });
  }
});

test("the receiver can verify both webhooks, and they say what happened", () => {
  expect(receiver.received).toHaveLength(2);
  const [firing, resolved] = receiver.received.map(({ body, headers }) => {
    new Webhook(secret).verify(body, headers as Record<string, string>);
    return JSON.parse(body);
  });
  expect(firing.type).toBe("alert.firing");
  expect(resolved.type).toBe("alert.resolved");
  expect(new Set(receiver.received.map(({ headers }) => headers["webhook-id"])).size).toBe(2);
});

test("two mails have come that read well", () => {
  const [firing, resolved] = mailbox.mails;
  expect(mailbox.mails).toHaveLength(2);
  expect(firing?.subject).toMatch(/^\[FIRING \d+%\] Sonnet 5\.5 · input tokens\/min/);
  expect(firing?.text).toMatch(/Sonnet 5\.5/);
  expect(firing?.text).toMatch(/600,000/);
  expect(firing?.text).toContain(server.url);
  expect(resolved?.subject).toMatch(/^\[RESOLVED\] Sonnet 5\.5 · input tokens\/min/);
  expect(resolved?.inReplyTo).toBe(firing?.messageId);
});

/** Eight quiet seconds, fifteen that fill nine tenths of the limit within a minute, twenty quiet ones. */
function risingTrace(): TraceCall[] {
  const calls: TraceCall[] = [];
  for (let index = 0; index < 80; index++) {
    calls.push({ atMs: index * 100, inputTokens: 300, outputTokens: 10 + (index % 40) });
  }
  for (let index = 0; index < 150; index++) {
    calls.push({ atMs: 8_000 + index * 100, inputTokens: 3_300, outputTokens: 10 + (index % 60) });
  }
  for (let index = 0; index < 200; index++) {
    calls.push({ atMs: 23_000 + index * 100, inputTokens: 100, outputTokens: 10 + (index % 60) });
  }
  return calls;
}

async function allCalls(): Promise<CallsPage["calls"]> {
  const calls: CallsPage["calls"] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page: CallsPage = await server.api(`/api/calls?limit=1000${cursor ? `&cursor=${cursor}` : ""}`);
    calls.push(...page.calls);
    cursor = page.nextCursor;
  }
  return calls;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (typeof address !== "object" || !address) throw new Error("no port");
  return address.port;
}
