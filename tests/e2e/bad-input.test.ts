import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { failToStart, makeDataDir, startServer, type TestServer } from "../support/server.ts";

let simulator: Awaited<ReturnType<typeof startSimulator>>;
let server: TestServer;

beforeAll(async () => {
  simulator = await startSimulator({});
  server = await startServer({ upstreamUrl: simulator.url });
});

afterAll(async () => {
  await server.stop();
  await simulator.close();
});

test("wrong settings are all named at once, without a stack trace", async () => {
  const { code, said } = await failToStart({
    PORT: "99999",
    HEADROOM_UPSTREAM_URL: "api.anthropic.com",
    SMTP_URL: "x",
  });
  expect(code).toBe(1);
  expect(said).toContain("PORT: must be a port number from 0 to 65535");
  expect(said).toContain("HEADROOM_UPSTREAM_URL: must be an http:// or https:// address");
  expect(said).toContain("SMTP_URL: must look like smtp://");
  expect(said).not.toMatch(/\n\s+at /);
});

test("a used port is said with how to choose another", async () => {
  const { port } = new URL(server.url);
  const { code, said } = await failToStart({ PORT: port });
  expect(code).toBe(1);
  expect(said.trim()).toBe(
    `Port ${port} on 127.0.0.1 is in use. Stop what listens there, or choose another: PORT=${Number(port) + 1} npm start`,
  );
});

test("a second start on the same data folder names who holds it", async () => {
  const { code, said } = await failToStart({ HEADROOM_DATA_DIR: server.dataDir });
  expect(code).toBe(1);
  expect(said).toMatch(/is in use by process \d+: stop it, or set HEADROOM_DATA_DIR to another folder/);
  expect(said).not.toMatch(/\n\s+at /);
});

test("a data folder that is a file is said with what to do", async () => {
  const path = join(makeDataDir(), "file");
  writeFileSync(path, "");
  const { code, said } = await failToStart({ HEADROOM_DATA_DIR: path });
  expect(code).toBe(1);
  expect(said).toMatch(/HEADROOM_DATA_DIR/);
  expect(said).not.toMatch(/\n\s+at /);
});

test("no room for the spool is said at the start", async () => {
  const child = spawn("bash", ["-c", `ulimit -f 32; exec "${process.execPath}" server.ts`], {
    env: { ...process.env, PORT: "0", HEADROOM_DATA_DIR: makeDataDir() },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk));
  const [code] = await once(child, "close");
  expect(code).toBe(1);
  expect(said).toMatch(/cannot write to .*spool.*calls are recorded first.*Free some space/);
});

test("a database that cannot be reached is said at the start", async () => {
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const address = free.address();
  const port = typeof address === "object" && address ? address.port : 0;
  free.close();
  await once(free, "close");
  const url = `postgres://someone:hunter2hunter2@127.0.0.1:${port}/headroom`;
  const { code, said } = await failToStart({ DATABASE_URL: url });
  expect(code).toBe(1);
  expect(said).toContain("DATABASE_URL");
  expect(said).not.toContain("hunter2");
  expect(said).not.toMatch(/\n\s+at /);
});

test("malformed JSON at /v1/messages gets Anthropic's error shape, and is in the books", async () => {
  const response = await fetch(`${server.url}/v1/messages`, {
    method: "POST",
    headers: { "x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01", "content-type": "application/json" },
    body: '{"model":"claude-opus-5-5",',
  });
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({
    type: "error",
    error: { type: "invalid_request_error" },
    request_id: response.headers.get("request-id"),
  });
});

test("an upstream that cannot be reached is named in Anthropic's shape, to the SDK as an error of its own", async () => {
  const lonely = await startServer({ upstreamUrl: "http://127.0.0.1:9" });
  const client = new Anthropic({ baseURL: lonely.url, apiKey: "sk-ant-test", maxRetries: 0 });
  const error = await client.messages
    .create({ model: "claude-opus-5-5", max_tokens: 5, messages: [{ role: "user", content: "hi" }] })
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Anthropic.InternalServerError);
  expect(String(error)).toContain("127.0.0.1:9");
  expect(String(error)).toContain("HEADROOM_UPSTREAM_URL");
  await lonely.stop();
});

test("operators' doors answer one error shape: no session, unknown path, bad filter, bad body", async () => {
  const bare = await fetch(`${server.url}/api/calls`);
  expect([bare.status, await bare.json()]).toMatchObject([401, { error: { code: "unauthenticated" } }]);
  await expect(server.api("/api/nothing")).rejects.toThrow(/404 .*"not_found"/);
  await expect(server.api("/api/calls?limit=0")).rejects.toThrow(/400 .*"invalid_input".*limit/);
  await expect(server.api("/api/agents", { name: "" })).rejects.toThrow(/400 .*"invalid_input".*name/);
  await expect(server.api("/api/channels", { kind: "pigeon" })).rejects.toThrow(/400 .*"invalid_input"/);
});

test("a page of another site can change nothing with an operator's cookie", async () => {
  const session = await fetch(`${server.url}/api/session`, {
    method: "POST",
    body: JSON.stringify({ token: "an-admin-token-for-tests" }),
  });
  const cookie = session.headers.get("set-cookie")?.split(";")[0] ?? "";
  const create = (origin: string) =>
    fetch(`${server.url}/api/agents`, {
      method: "POST",
      headers: { cookie, origin, "content-type": "application/json" },
      body: JSON.stringify({ name: `of ${new URL(origin).hostname}` }),
    });
  expect((await create("http://evil.example")).status).toBe(403);
  expect((await create(server.url)).status).toBe(201);
});

test("an agent key calls with the upstream's key, an unknown or revoked one is refused and not to be retried", async () => {
  const dataDir = makeDataDir();
  const keyed = await startServer({
    upstreamUrl: simulator.url,
    dataDir,
    env: { ANTHROPIC_API_KEY: "sk-ant-upstream" },
  });
  const { agent, secret } = await keyed.api<{ agent: { id: string }; secret: string }>("/api/agents", {
    name: "nightly",
  });
  const call = (apiKey: string) =>
    new Anthropic({ baseURL: keyed.url, apiKey, maxRetries: 0 }).messages
      .create({ model: "claude-haiku-5-5", max_tokens: 5, messages: [{ role: "user", content: "hi" }] })
      .catch((error: unknown) => error);
  expect(await call(secret)).toMatchObject({ type: "message" });
  expect(await call("hr_unknown")).toBeInstanceOf(Anthropic.AuthenticationError);
  await keyed.api(`/api/agents/${agent.id}`, undefined, "DELETE");
  expect(await call(secret)).toBeInstanceOf(Anthropic.AuthenticationError);
  await keyed.stop();
});
