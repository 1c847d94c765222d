import { AxeBuilder } from "@axe-core/playwright";
import type { Browser, BrowserContext, Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createAlertsApi } from "../support/alerts-data.ts";
import { launchChromium } from "../support/chromium.ts";
import type { Look } from "../support/overview-data.ts";
import { type Books, reconciliationAnswer } from "../support/reconciliation-data.ts";
import { openScreens, type Screens } from "../support/screens.ts";

let browser: Browser;
let screens: Screens;
let contexts: BrowserContext[] = [];
let books: Books = "different";

beforeAll(async () => {
  browser = await launchChromium();
  const alerts = createAlertsApi(() => screens.source.first());
  screens = await openScreens("busy", {
    api: (method, path, body) =>
      path === "/api/usage/reconciliation" ? reconciliationAnswer(books) : alerts(method, path, body),
  });
});

afterEach(async () => {
  await Promise.all(contexts.map((context) => context.close()));
  contexts = [];
  screens.mend();
  books = "different";
});

afterAll(async () => {
  await browser?.close();
  await screens?.close();
});

type Seat = { look?: Look; path?: string; width?: number; dark?: boolean; signedIn?: boolean };

async function open({
  look = "busy",
  path = "/",
  width = 1_440,
  dark = false,
  signedIn = true,
}: Seat = {}): Promise<Page> {
  screens.source.become(look);
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
  });
  contexts.push(context);
  if (signedIn) await context.addCookies([{ name: "headroom_session", value: "any", url: screens.url }]);
  const page = await context.newPage();
  // The first page meets a cold server and a cold browser, on whatever machine this is.
  page.setDefaultTimeout(90_000);
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  await page.goto(screens.url + path);
  if (signedIn)
    await page
      .getByRole("status")
      .filter({ hasText: /^(Live|Listening)$/ })
      .waitFor();
  expect(faults).toEqual([]);
  return page;
}

const used = () => {
  const pool = screens.source.first().pools.find((entry) => entry.pool === "opus-5.5");
  return pool?.limiters.find((entry) => entry.limiter === "input_tokens");
};

describe("the overview", () => {
  it("shows the tightest limit with its number, time, limit and source", async () => {
    const page = await open();
    const hero = page.getByRole("region", { name: "Tightest limit" });
    await expect.poll(() => hero.textContent()).toContain("Opus 5.5 · input tokens");
    const text = await hero.textContent();
    expect(text).toContain(String(Math.round((used()?.utilisation ?? 0) * 100)));
    expect(text).toContain("limit in 35–50 s");
    expect(text).toContain("2,000,000");
    expect(text).toContain("headers, 0.4 s ago");
    expect(text).toMatch(/Without nightly-labeller this limit would be at \d+/);
    expect(text).toContain("outside Headroom");
  });

  it("moves with each event, without a reload", async () => {
    const page = await open();
    const before = await page.getByText("Left", { exact: true }).locator("..").textContent();
    screens.tick();
    await expect.poll(() => page.getByText("Left", { exact: true }).locator("..").textContent()).not.toBe(before);
    const left = Math.round((used()?.limit ?? 0) - (used()?.used ?? 0)).toLocaleString("en-US");
    await expect.poll(() => page.getByText("Left", { exact: true }).locator("..").textContent()).toContain(left);
  });

  it("draws a chart of the chosen limiter under its ceiling, and the others beside it", async () => {
    const page = await open();
    const chart = page.getByRole("figure", { name: /Opus 5\.5 input tokens at \d+.% of 2,000,000 per minute/ });
    await chart.locator(".recharts-area-curve").first().waitFor();
    await chart.getByText("limit", { exact: true }).waitFor();
    await page.getByRole("button", { name: /^Requests per minute/ }).waitFor();
    await page.getByRole("button", { name: /^Output tokens per minute/ }).click();
    await page.getByRole("figure", { name: /output tokens at/ }).waitFor();
    expect(new URL(page.url()).searchParams.get("limit")).toBe("default/opus-5.5/standard:output_tokens");
  });

  it("opens a link at the limiter and range that it names", async () => {
    const page = await open({ path: "/?limit=default/haiku-5.5/standard:requests&range=5" });
    await page.getByRole("figure", { name: /Haiku 5\.5 requests at/ }).waitFor();
    expect(await page.getByRole("radio", { name: "5 min", exact: true }).isChecked()).toBe(true);
  });

  it("turns from waiting to live by itself when the first call lands", async () => {
    const page = await open({ look: "waiting" });
    await page.getByRole("heading", { name: "Waiting for the first call" }).waitFor();
    await page.getByRole("tab", { name: "curl" }).click();
    await page.getByText("http://127.0.0.1:3000").last().waitFor();
    screens.source.become("calm");
    screens.tick();
    await page.getByRole("region", { name: "Tightest limit" }).waitFor();
  });

  it("says that calls flow and are spooled while the database is away", async () => {
    const page = await open({ look: "failing" });
    const text = await page.getByRole("alert").first().textContent();
    expect(text).toContain("Calls flow, recording is spooled.");
    expect(text).toContain("1,284 calls wait");
  });

  it("shows an old reading as one, with its age and without a forecast", async () => {
    const page = await open({ look: "stale" });
    const gauge = page.getByRole("button", { name: /^Sonnet 5\.5 Output tokens/ });
    await expect.poll(() => gauge.textContent()).toContain("last known, 4 min ago");
  });

  it("holds the calls still under the pointer and tells how many wait", async () => {
    const page = await open();
    const table = page.getByRole("table", { name: /newest .* calls/ });
    await table.locator("tbody tr").nth(2).hover();
    const before = await table.locator("tbody").textContent();
    screens.tick();
    await page.getByText("3 new, held while you point here").waitFor();
    expect(await table.locator("tbody").textContent()).toBe(before);
    await page.mouse.move(700, 30);
    await expect.poll(() => table.locator("tbody").textContent()).not.toBe(before);
  });
});

describe("the comparison with Anthropic's reports", () => {
  const panelOf = (page: Page) =>
    page.locator("section", { has: page.getByRole("heading", { name: "Against Anthropic's reports" }) });

  it("says of which day it is, how old it is, and what the sides differ by", async () => {
    const panel = panelOf(await open());
    await panel.waitFor();
    expect(await panel.textContent()).toMatch(/22 Nov, UTC, read \d+ \w+ ago/);
    const cells = async (name: string | RegExp) => panel.getByRole("row", { name }).locator("td").allTextContents();
    expect(await cells("claude-opus-5-5")).toEqual([
      ...["claude-opus-5-5", "$43.75", "$56.25", "+$12.50", "+8,220,000", ""],
    ]);
    expect(await cells("claude-sonnet-5-5")).toEqual([
      ...["claude-sonnet-5-5", "–", "$6.25", "+$6.25", "+4,110,000", "all of it went past Headroom"],
    ]);
    expect(await cells("claude-haiku-4-5")).toContain("2 calls without a known price");
    expect((await cells("Searches, code execution"))[3]).toBe("\u2212$0.02");
    expect((await cells(/^All /))[3]).toBe("+$18.75");
  });

  it.each([
    [1_440, false],
    [1_440, true],
    [390, false],
    [390, true],
  ])("has nothing for axe to find, and fits: %d px wide, dark %s", async (width, dark) => {
    const page = await open({ width, dark });
    const panel = panelOf(page);
    await panel.waitFor();
    expect(await faultsOf(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
  });

  it.each([
    ["empty", "Neither side knows of any use on that day."],
    ["unread", "No report has been read yet"],
    ["stale", "does not accept ANTHROPIC_ADMIN_KEY (401)"],
    ["failing", "The database cannot be reached."],
  ] as const)("says what is the matter, on a phone and in the dark too: %s", async (state, text) => {
    books = state;
    const page = await open({ width: 390, dark: true });
    const panel = panelOf(page);
    await panel.getByText(text).waitFor();
    expect(await faultsOf(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  });

  it("is not there without an Admin key", async () => {
    books = "none";
    const page = await open();
    const answered = page.waitForResponse(/\/api\/usage\/reconciliation/);
    await page.reload();
    await (await answered).finished();
    await page.getByRole("region", { name: "Tightest limit" }).waitFor();
    expect(await panelOf(page).count()).toBe(0);
  });
});

describe("the line to the gateway", () => {
  it("says since when it is blind, and is live again by itself", async () => {
    const page = await open();
    screens.cut();
    await page
      .getByRole("status")
      .filter({ hasText: /^Blind since \d\d:\d\d:\d\d$/ })
      .waitFor();
    screens.mend();
    await page
      .getByRole("status")
      .filter({ hasText: /^Live$/ })
      .waitFor({ timeout: 30_000 });
  });

  it("stands still while paused, and goes on with the present", async () => {
    const page = await open();
    await page.locator("body").press("Space");
    await page.getByRole("status").filter({ hasText: "Paused" }).waitFor();
    const left = page.getByText("Left", { exact: true }).locator("..");
    const before = await left.textContent();
    const heard = await countEvents(page);
    await expect.poll(heard).toBe(1);
    screens.tick();
    await expect.poll(heard).toBe(2);
    expect(await left.textContent()).toBe(before);
    await page.locator("body").press("Space");
    const now = Math.round((used()?.limit ?? 0) - (used()?.used ?? 0)).toLocaleString("en-US");
    await expect.poll(() => left.textContent()).toContain(now);
  });
});

describe("the keyboard", () => {
  it("reaches the page past the navigation, chooses limiters, and lists its keys", async () => {
    const page = await open();
    await page.keyboard.press("Tab");
    await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to the page");
    await page.locator("body").press("1");
    await page.getByRole("figure", { name: /requests at/ }).waitFor();
    await page.locator("body").press("0");
    await page.getByRole("figure", { name: /input tokens at/ }).waitFor();
    await page.locator("body").press("?");
    await page.getByRole("dialog", { name: "Shortcuts" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "Shortcuts" }).waitFor({ state: "hidden" });
  });

  it("leaves single keys alone once they are switched off", async () => {
    const page = await open();
    await page.locator("body").press("?");
    await page.getByRole("switch", { name: "Single-key shortcuts" }).click();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog", { name: "Shortcuts" }).waitFor({ state: "hidden" });
    await page.locator("body").press("1");
    expect(new URL(page.url()).searchParams.get("limit")).toBeNull();
  });
});

describe("every page", () => {
  it("sends a stranger to sign in", async () => {
    for (const path of ["/", "/alerts"]) {
      const page = await open({ path, signedIn: false });
      expect(new URL(page.url()).pathname).toBe("/login");
      await page.getByText("Open the link that Headroom printed when it started, or paste the admin token").waitFor();
    }
  });

  const seats: [name: string, seat: Seat][] = [
    ["the overview", {}],
    ["the waiting page", { look: "waiting" }],
    ["the overview with old readings", { look: "stale" }],
    ["the overview while recording is spooled", { look: "failing" }],
    ["the alerts", { path: "/alerts" }],
  ];

  for (const [name, seat] of seats) {
    for (const dark of [false, true]) {
      it(`has nothing for axe to find: ${name}, ${dark ? "dark" : "light"}`, async () => {
        const page = await open({ ...seat, dark });
        expect(await faultsOf(page)).toEqual([]);
      });
    }

    it(`does not scroll sideways on a phone: ${name}`, async () => {
      for (const width of [390, 320]) {
        const page = await open({ ...seat, width });
        const [scroll, client] = await page.evaluate(() => [
          document.documentElement.scrollWidth,
          document.documentElement.clientWidth,
        ]);
        expect(scroll).toBe(client);
      }
    });
  }

  it("keeps the scheme that was chosen, from the first paint on", async () => {
    const page = await open();
    await page.getByRole("button", { name: "Colour scheme" }).click();
    await page.getByRole("menuitem", { name: "Dark" }).click();
    await page.reload({ waitUntil: "commit" });
    await expect.poll(() => page.evaluate(() => document.documentElement.dataset.mantineColorScheme)).toBe("dark");
    expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe("rgb(12, 14, 17)");
  });
});

describe("the alerts", () => {
  it("are edited by rule, and a webhook's secret is shown once", async () => {
    const page = await open({ path: "/alerts" });
    await page.getByRole("button", { name: "Edit Nearly out" }).click();
    await page.getByRole("textbox", { name: "Name" }).fill("Out of room");
    expect(await faultsOf(page)).toEqual([]);
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "Edit Out of room" }).waitFor();
    await page.getByRole("button", { name: "Add a channel" }).click();
    await page.getByRole("textbox", { name: "Name" }).fill("Chat");
    await page.getByRole("textbox", { name: "Address" }).fill("https://hooks.example.com/x");
    await page.getByRole("button", { name: "Add the channel" }).click();
    await page.getByText(/^whsec_/).waitFor();
    await page.getByRole("button", { name: "I have kept it" }).click();
    await page.getByText(/^whsec_/).waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Test Chat" }).click();
    await page.getByText("status 250 · 412 ms · 2.0.0 Ok: queued").waitFor();
  });
});

/** A second line of the same page, opened after the first: what reached it has reached the page. */
async function countEvents(page: Page): Promise<() => Promise<number>> {
  const counter = await page.evaluateHandle(() => {
    const count = { events: 0 };
    new EventSource("/api/live").addEventListener("overview", () => {
      count.events += 1;
    });
    return count;
  });
  return () => counter.evaluate((count) => count.events);
}

async function faultsOf(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.flatMap((violation) =>
    violation.nodes.map((node) => `${violation.id}: ${node.target} ${node.failureSummary}`),
  );
}
