import Anthropic from "@anthropic-ai/sdk";
import type { Browser, Page } from "playwright";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import { launchChromium } from "../support/chromium.ts";
import { startServer, type TestServer } from "../support/server.ts";

let simulator: Simulator;
let server: TestServer;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  simulator = await startSimulator({ tokensPerSecond: 2_000 });
  server = await startServer({ upstreamUrl: simulator.url });
  browser = await launchChromium();
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
});

afterAll(async () => {
  await browser.close();
  await server.stop();
  await simulator.close();
});

test("without a session every page leads to the one that says how to sign in", async () => {
  await page.goto(server.url);
  await page.waitForURL("**/login*");
  expect(await page.textContent("body")).toContain("link that Headroom printed");
});

test("pages and scripts travel compressed", async () => {
  const login = await fetch(`${server.url}/login`);
  const script = /"(\/_next\/static\/[^"]+\.js)"/.exec(await login.text())?.[1];
  const answers = [login, await fetch(server.url + script)];
  expect(answers.map(({ headers }) => headers.get("content-encoding"))).toEqual(["gzip", "gzip"]);
});

test("the printed link signs in once, and the page then waits for the first call", async () => {
  await page.goto(server.setupUrl);
  await page.getByRole("heading", { name: "Waiting for the first call" }).waitFor();
  const text = (await page.textContent("main")) ?? "";
  for (const client of ["Claude Code", "Python", "TypeScript", "curl"]) expect(text).toContain(client);
  expect(text).toContain(`ANTHROPIC_BASE_URL=${server.url}`);

  const stranger = await browser.newPage();
  await stranger.goto(server.setupUrl);
  await stranger.waitForURL("**/login*");
  await stranger.close();
});

test("it turns live by itself when the first call lands, with the limits of the upstream's headers", async () => {
  await page.evaluate(() => {
    Object.assign(window, { sameDocument: true });
  });
  const message = await new Anthropic({ baseURL: server.url, apiKey: "sk-ant-test" }).messages.create(
    { model: "claude-opus-5-5", max_tokens: 400, messages: [{ role: "user", content: "hello" }] },
    { headers: { "x-headroom-agent": "first-agent", "x-simulator-input-tokens": "123456" } },
  );
  expect(message.usage.input_tokens).toBe(123_456);
  await page.getByText("Opus 5.5 · input tokens").first().waitFor();
  await page.getByText("123,456").first().waitFor();
  const text = (await page.textContent("main")) ?? "";
  expect(text).toContain("first-agent");
  expect(text).toContain("2,000,000");
  expect(text).toMatch(/headers?, /);
  expect(await page.evaluate(() => "sameDocument" in window)).toBe(true);
});

test("an operator signs in with the admin token too, and nothing else opens the door", async () => {
  const other = await browser.newContext();
  const login = await other.newPage();
  await login.goto(`${server.url}/login`);
  await login.getByRole("textbox", { name: "Admin token" }).fill("not the admin token");
  await login.keyboard.press("Enter");
  await login.getByText(/neither the admin token/).waitFor();
  await login.getByRole("textbox", { name: "Admin token" }).fill("an-admin-token-for-tests");
  await login.keyboard.press("Enter");
  await login.getByText("Opus 5.5 · input tokens").first().waitFor();
  await other.close();
});
