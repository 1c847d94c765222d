import { expect, onTestFinished, test } from "vitest";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { launchChromium } from "../support/chromium.ts";
import { startServer } from "../support/server.ts";

/** Where others than this machine reach the server, nobody is let through unasked. */

const HEADERS = { "x-api-key": "sk-ant-own", "anthropic-version": "2023-06-01", "content-type": "application/json" };

async function open(env: Record<string, string>) {
  const simulator = await startSimulator();
  onTestFinished(() => simulator.close());
  const server = await startServer({ upstreamUrl: simulator.url, env: { HOST: "0.0.0.0", ...env } });
  onTestFinished(async () => void (await server.stop()));
  const call = (headers: Record<string, string> = {}) =>
    fetch(`${server.url}/v1/messages`, {
      method: "POST",
      headers: { ...HEADERS, ...headers },
      body: JSON.stringify({ model: "claude-haiku-4-5", max_tokens: 8, messages: [{ role: "user", content: "hi" }] }),
    });
  return { server, call };
}

test("only agent keys are taken, and a refusal and the first page say what to do", async () => {
  const { server, call } = await open({});
  const browser = await launchChromium();
  onTestFinished(() => browser.close());
  const page = await browser.newPage();
  await page.goto(server.setupUrl);
  await page.getByRole("heading", { name: "Set an upstream credential" }).waitFor();
  const answer = await call();
  expect(answer.status).toBe(401);
  expect(await answer.text()).toContain("Headroom agent keys only");
});

test("with the settings, other credentials go through and what they say in headers is believed", async () => {
  const { server, call } = await open({ HEADROOM_PASS_THROUGH: "on", HEADROOM_BELIEVE_HEADERS: "on" });
  const answer = await call({ "x-headroom-agent": "crawler" });
  expect(answer.status).toBe(200);
  const state = await server.api<{ agents?: unknown }>("/api/state");
  expect(JSON.stringify(state)).toContain("crawler");
});
