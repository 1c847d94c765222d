import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isLoopback, parseEnv } from "../../lib/settings/env.ts";

test("an empty environment is a good one", () => {
  expect(parseEnv({})).toMatchObject({
    PORT: 3000,
    HOST: "127.0.0.1",
    HEADROOM_UPSTREAM_URL: "https://api.anthropic.com",
  });
});

test("all faults are listed at once, each with what to do", () => {
  const bad = {
    PORT: "eighty",
    SMTP_URL: "mail.example.com",
    SUPABASE_URL: "https://x.supabase.co",
    HEADROOM_ADMIN_TOKEN: "short",
  };
  const message = (() => {
    try {
      parseEnv(bad);
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  })();
  expect(message).toContain("PORT: must be a port number");
  expect(message).toContain("SMTP_URL: must look like smtp://");
  expect(message).toContain("HEADROOM_ADMIN_TOKEN: needs at least 16 characters");
});

test("settings that contradict one another are named", () => {
  expect(() => parseEnv({ SUPABASE_URL: "https://x.supabase.co" })).toThrow(/without SUPABASE_SECRET_KEY/);
  expect(() => parseEnv({ SMTP_URL: "smtp://localhost" })).toThrow(/without HEADROOM_MAIL_FROM/);
});

test("networks for webhooks are parsed, and a wrong one is named before anything starts", () => {
  expect(parseEnv({ WEBHOOK_ALLOWED_CIDRS: "10.0.0.0/8, fd00::/8" }).WEBHOOK_ALLOWED_CIDRS).toEqual([
    "10.0.0.0/8",
    "fd00::/8",
  ]);
  expect(() => parseEnv({ WEBHOOK_ALLOWED_CIDRS: "10.0.0.0" })).toThrow(/WEBHOOK_ALLOWED_CIDRS: must be networks/);
});

test("a value may come from a file, and an unreadable file is a fault", () => {
  const path = join(mkdtempSync(join(tmpdir(), "headroom-env-")), "key");
  writeFileSync(path, "sk-ant-file\n");
  expect(parseEnv({ ANTHROPIC_API_KEY_FILE: path }).ANTHROPIC_API_KEY).toBe("sk-ant-file");
  expect(() => parseEnv({ ANTHROPIC_API_KEY_FILE: `${path}.gone` })).toThrow(/ANTHROPIC_API_KEY_FILE: ENOENT/);
  expect(() => parseEnv({ ANTHROPIC_API_KEY: "a", ANTHROPIC_API_KEY_FILE: path })).toThrow(/both set: keep one/);
});

test("switches are on or off, and times are seconds", () => {
  const env = parseEnv({ HEADROOM_PASS_THROUGH: "off", HEADROOM_UPSTREAM_STREAM_S: "90" });
  expect(env).toMatchObject({ HEADROOM_PASS_THROUGH: false, HEADROOM_UPSTREAM_STREAM_S: 90 });
  expect(parseEnv({}).HEADROOM_PASS_THROUGH).toBeUndefined();
  expect(() => parseEnv({ HEADROOM_BELIEVE_HEADERS: "yes" })).toThrow(/HEADROOM_BELIEVE_HEADERS: must be on or off/);
  expect(() => parseEnv({ HEADROOM_UPSTREAM_CONNECT_S: "0" })).toThrow(
    /HEADROOM_UPSTREAM_CONNECT_S: must be at least 1/,
  );
});

test("no fault repeats a secret", () => {
  const secret = "postgress://user:hunter2hunter2@db/app";
  expect(() => parseEnv({ DATABASE_URL: secret })).toThrow(/^(?![\s\S]*hunter2)/);
});

test.each([
  ["127.0.0.1", true],
  ["127.8.9.1", true],
  ["localhost", true],
  ["::1", true],
  ["0.0.0.0", false],
  ["10.0.0.8", false],
  ["127.evil.example", false],
])("%s is loopback: %s", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});
