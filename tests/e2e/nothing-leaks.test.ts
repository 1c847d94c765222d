import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import type { CallsPage } from "../../lib/usage/schema.ts";
import { ownerOf } from "../support/owner-process.ts";
import type { Noted } from "../support/record-connections.ts";
import { ADMIN_TOKEN, makeDataDir, startServer, type TestServer, until } from "../support/server.ts";
import { openWebhookReceiver, type WebhookReceiver } from "../support/webhook-receiver.ts";

/** What leaves the product: to whom it connects, and that nothing that it is trusted with is written anywhere. */

/** Each is found nowhere but where it was sent. */
const SECRETS = {
  upstreamKey: "sk-ant-SECRET-upstream-0001",
  apiKey: "sk-ant-SECRET-caller-0002",
  bearer: "sk-ant-oat-SECRET-login-0003",
  agentKey: "hr_SECRET-unknown-0004",
  query: "SECRET-query-0005",
  prompt: "SECRET-prompt-0006",
  system: "SECRET-system-0007",
  cookie: "SECRET-cookie-0008",
  header: "SECRET-header-0009",
  broken: "SECRET-broken-json-0010",
  file: "SECRET-file-0011",
  basic: "SECRET-basic-0012",
  webhook: "SECRET-webhook-0013",
};

const dataDir = makeDataDir();
const connections = join(dataDir, "..", `connections-${process.pid}.jsonl`);
let simulator: Simulator;
let receiver: WebhookReceiver;
let server: TestServer;
/** Everything that Headroom itself answered to callers. */
const answers: string[] = [];

beforeAll(async () => {
  simulator = await startSimulator({ seed: 2, tokensPerSecond: 5_000 });
  receiver = await openWebhookReceiver();
  server = await startServer({
    // By name, so that a look-up can be seen.
    upstreamUrl: simulator.url.replace("127.0.0.1", "localhost"),
    dataDir,
    env: {
      NODE_OPTIONS: `--import=${resolve(import.meta.dirname, "../support/record-connections.ts")}`,
      HEADROOM_TEST_CONNECTIONS: connections,
      HEADROOM_LOG_LEVEL: "debug",
      ANTHROPIC_API_KEY: SECRETS.upstreamKey,
    },
  });
});

afterAll(async () => {
  await server.stop();
  await Promise.all([simulator.close(), receiver.close()]);
});

test("no credential, prompt, query or file is in the spool, the logs, the rows or an error", async () => {
  // A database that stands still keeps the rows in the spool, to be looked at.
  const owner = ownerOf(server.pid);
  process.kill(owner, "SIGSTOP");
  try {
    await mixedTraffic();
    expect(foundIn(join(dataDir, "spool"))).toEqual([]);
    const spooled = execFileSync("grep", ["-rh", "claude-opus-5-5", join(dataDir, "spool")], { encoding: "utf8" });
    expect(spooled.split("\n").length).toBeGreaterThan(CALLS.length / 2);
  } finally {
    process.kill(owner, "SIGCONT");
  }

  await until("a line in the log", async () => server.said().includes("the upstream gave no answer"));
  const rows = await until("the rows", async () => {
    const { calls } = await server.api<CallsPage>("/api/calls?limit=1000");
    return calls.length >= CALLS.length && calls;
  });
  const metrics = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  const state = JSON.stringify([
    await server.api("/api/state"),
    await server.api("/api/agents"),
    await server.api("/api/upstreams"),
  ]);
  const written = { rows: JSON.stringify(rows), metrics: await metrics.text(), state, said: server.said() };
  for (const [where, text] of Object.entries({ ...written, answers: answers.join("\n") })) {
    expect([where, Object.values(SECRETS).filter((secret) => text.includes(secret))]).toEqual([where, []]);
  }
  expect(foundIn(dataDir)).toEqual([]);
});

test("it connects to the upstream, its own database and the channels that operators made, and to nobody else", async () => {
  await server.api("/api/channels", {
    kind: "webhook",
    name: "on-call",
    settings: { url: `${receiver.url}?key=${SECRETS.webhook}` },
  });
  const { channels } = await server.api<{ channels: { id: string }[] }>("/api/channels");
  await server.api(`/api/channels/${channels[0]?.id}/test`, {});
  await receiver.waitFor(1);
  for (const path of ["/", "/login", "/healthz", "/readyz", "/api/openapi.json"]) {
    const page = await fetch(`${server.url}${path}`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
    // Nor does a page make a browser ask elsewhere.
    const links = [
      ...(await page.text()).matchAll(/(?:src|href|action|url)\s*[=(:]\s*["']?(https?:\/\/[^"'\s>)]+)/g),
    ].map(([, url = ""]) => url);
    expect(links.filter((url) => !url.startsWith(server.url))).toEqual([]);
  }

  const noted = readFileSync(connections, "utf8")
    .trimEnd()
    .split("\n")
    .map((line): Noted => JSON.parse(line));
  const owners = noted.filter(({ program }) => program.endsWith("embedded/owner.ts"));
  const database = owners.filter(({ kind }) => kind === "listen").map(({ to }) => to);
  expect(database).toHaveLength(1);
  const port = new URL(simulator.url).port;
  const outgoing = new Set(noted.filter(({ kind }) => kind === "connect" || kind === "datagram").map(({ to }) => to));
  expect([...outgoing].sort()).toEqual([`localhost:${port}`, ...database, `127.0.0.1:${receiver.port}`].sort());
  expect(owners.filter(({ kind }) => kind === "connect" || kind === "datagram")).toEqual([]);
  const names = new Set(noted.filter(({ kind }) => kind === "lookup").map(({ to }) => to));
  expect([...names].filter((name) => name !== "localhost" && name !== "127.0.0.1")).toEqual([]);
  expect(names).toContain("localhost");
});

/** Calls that the upstream refuses are not to be held back for better times. */
const PATIENCE = { "x-headroom-deadline-ms": "300" };

type Call = { path?: string; method?: string; headers?: Record<string, string>; body?: string };

const MESSAGE = {
  model: "claude-opus-5-5",
  max_tokens: 40,
  system: SECRETS.system,
  messages: [{ role: "user", content: SECRETS.prompt }],
};
const KEY = { "x-api-key": SECRETS.apiKey };
const CALLS: readonly Call[] = [
  { headers: KEY, body: JSON.stringify(MESSAGE) },
  { headers: KEY, body: JSON.stringify({ ...MESSAGE, stream: true }) },
  {
    headers: { authorization: `Bearer ${SECRETS.bearer}`, "anthropic-beta": "oauth-2025-04-20" },
    body: JSON.stringify(MESSAGE),
  },
  { headers: { "x-api-key": SECRETS.agentKey }, body: JSON.stringify(MESSAGE) },
  { headers: { authorization: `Basic ${SECRETS.basic}` }, body: JSON.stringify(MESSAGE) },
  { path: `/v1/messages?api_key=${SECRETS.query}`, headers: KEY, body: JSON.stringify(MESSAGE) },
  { headers: { ...KEY, cookie: `sid=${SECRETS.cookie}`, "x-other": SECRETS.header }, body: JSON.stringify(MESSAGE) },
  { headers: KEY, body: `{"model":"claude-opus-5-5","messages":"${SECRETS.broken}` },
  { headers: { ...KEY, "content-encoding": "gzip" }, body: SECRETS.broken },
  { path: `/v1/files?token=${SECRETS.query}`, headers: { ...KEY, "content-type": "text/plain" }, body: SECRETS.file },
  { path: `/v1/unknown?token=${SECRETS.query}`, method: "GET", headers: KEY },
  ...["529", "500", "429-windowless", "cut", "error-event", "reset"].map((fault) => ({
    headers: {
      ...KEY,
      "x-simulator-fault": fault,
      "x-other": SECRETS.header,
      // Tried again by Headroom itself, and given up in the end.
      ...(fault === "reset" ? { "x-headroom-deadline-ms": "10000" } : {}),
    },
    body: JSON.stringify({ ...MESSAGE, stream: true }),
  })),
];

async function mixedTraffic(): Promise<void> {
  for (const { path = "/v1/messages", method = "POST", headers = {}, body } of CALLS) {
    const answer = await fetch(server.url + path, {
      method,
      headers: { "content-type": "application/json", "anthropic-version": "2023-06-01", ...PATIENCE, ...headers },
      ...(body === undefined ? {} : { body }),
    });
    const text = await answer.text().catch(() => "");
    answers.push(JSON.stringify([...answer.headers]), text);
  }
}

function foundIn(folder: string): string[] {
  return Object.values(SECRETS).filter((secret) => {
    try {
      return execFileSync("grep", ["-rlaF", secret, folder], { encoding: "utf8" }) !== "";
    } catch {
      return false;
    }
  });
}
