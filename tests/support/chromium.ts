import { existsSync } from "node:fs";
import { type Browser, chromium } from "playwright";

const PLACES = [
  process.env.CHROMIUM_PATH,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

/** The machine's Chromium, else the one that Playwright has installed, else null. */
export function findChromium(): string | null {
  return [...PLACES, chromium.executablePath()].find((path) => path && existsSync(path)) ?? null;
}

/** A headless browser that talks to nobody but the pages it is sent to. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (!executablePath) throw new Error("Chromium is missing: run the tests with npm test, which finds or installs it");
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
