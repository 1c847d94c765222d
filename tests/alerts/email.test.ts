import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createAddressGuard } from "../../lib/alerts/channels/address-guard.ts";
import { createChannelKinds } from "../../lib/alerts/channels/registry.ts";
import { createChannel, testChannel } from "../../lib/alerts/service/channels.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { poolAt } from "./factories.ts";
import { openWorld, type World } from "./world.ts";

let db: TestDatabase;
let world: World;
beforeAll(async () => {
  db = await openTestDatabase();
});
afterAll(() => db.close());
beforeEach(async () => {
  world = await openWorld(db);
});
afterEach(() => world.close());

const addMail = () =>
  createChannel(world.alerting, {
    kind: "email",
    name: "Team",
    enabled: true,
    settings: { to: ["ops@example.com", "dev@example.com"] },
  });

test("an incident is two mails that read well and stand in one thread", async () => {
  await addMail();
  world.setTopAgents([
    { agent: "planner", share: 0.62 },
    { agent: "claude-code", share: 0.31 },
  ]);
  world.setUse(0.87);
  await world.run(12);
  await world.alerting.deliverer.drain();
  world.setUse(0.93);
  await world.run(70);
  world.setUse(0.3);
  await world.run(122);
  await world.alerting.deliverer.drain();
  const [firing, resolved, ...others] = await world.mailbox.waitFor(2);
  expect(others).toEqual([]);
  const id = firing?.messageId?.match(/^<alert-([0-9a-f-]{36})@/)?.[1];

  expect(firing?.subject).toBe("[FIRING 87%] Opus 5 · input tokens/min · acme-prod");
  expect(firing?.from?.text).toBe('"Headroom" <alerts@example.com>');
  expect(firing?.to).toMatchObject({ text: "ops@example.com, dev@example.com" });
  expect(firing?.text).toBe(`Opus 5 input tokens/min at acme-prod is at 87% of its limit.

  Now       1,740,000 of 2,000,000 input tokens/min (87%)
  Limit     from Anthropic's response headers
  Since     2026-11-23 08:00:00 UTC
  Upstream  acme-prod
  Severity  warning
  Rule      Limit at 80 % (at or above 80%)

Who used it in the minute before:
  planner      62%
  claude-code  31%

What to do:
  - Cache long, repeated prompts: on current models cache reads do not count towards this limit.
  - Give agents that can wait a lower class, or move part of the work to another model.

See it in Headroom: https://headroom.example.com/alerts?alert=${id}
`);
  expect(firing?.messageId).toBe(`<alert-${id}@example.com>`);
  expect(firing?.inReplyTo).toBeUndefined();
  expect(firing?.headers.get("auto-submitted")).toBe("auto-generated");
  expect(firing?.headers.get("x-auto-response-suppress")).toBe("All");
  expect(world.mailbox.raw[0]).toMatch(/^List-ID: Headroom alerts <alerts\.headroom\.example\.com>\r$/m);

  expect(resolved?.subject).toBe("[RESOLVED] Opus 5 · input tokens/min · acme-prod");
  expect(resolved?.text).toBe(`Opus 5 input tokens/min at acme-prod is back at 30% of its limit.

  Lasted    3 min 12 s
  Peak      93% of the limit
  Now       600,000 of 2,000,000 input tokens/min (30%)
  Fired     2026-11-23 08:00:10 UTC
  Resolved  2026-11-23 08:03:22 UTC
  Upstream  acme-prod
  Rule      Limit at 80 %

See it in Headroom: https://headroom.example.com/alerts?alert=${id}
`);
  expect(resolved?.inReplyTo).toBe(`<alert-${id}@example.com>`);
  expect(resolved?.references).toBe(`<alert-${id}@example.com>`);
  expect(resolved?.messageId).toBe(`<alert-${id}-resolved@example.com>`);

  expect(firing?.html).toContain("1,740,000 of 2,000,000 input tokens/min (87%)");
  expect(firing?.html).not.toMatch(/<img|<script|<link/);
});

test("line breaks and markup in names write no headers, no lines and no HTML of their own", async () => {
  await addMail();
  await world.changeRule({ name: "Rule\r\nBcc: victim@example.com <!channel> @everyone" });
  world.setTopAgents([{ agent: "evil\r\n\r\nSee it in Headroom: https://phish.example\u0000<b>x</b>", share: 1 }]);
  world.setPools([poolAt(0.9, { name: "Opus 5\r\nBcc: victim@example.com\r\nX-Evil: 1" })]);
  await world.run(12);
  await world.alerting.deliverer.drain();
  const [mail] = await world.mailbox.waitFor(1);
  expect(mail?.bcc).toBeUndefined();
  expect(mail?.headers.has("x-evil")).toBe(false);
  expect(mail?.subject).toBe("[FIRING 90%] Opus 5 Bcc: victim@example.com X-Evil: 1 · input tokens/min · acme-prod");
  expect(mail?.text?.split("\n").filter((line) => line.startsWith("See it in Headroom:"))).toHaveLength(1);
  expect(mail?.text?.split("\n").some((line) => line.startsWith("Bcc:"))).toBe(false);
  expect(mail?.html).toContain("&lt;b&gt;x&lt;/b&gt;");
  expect(mail?.html).not.toContain("<b>");
});

test("a test mail says that it is one and shows the server's answer", async () => {
  const { id, secret } = await addMail();
  expect(secret).toBeNull();
  const result = await testChannel(world.alerting, id);
  expect(result).toMatchObject({ event: "alert.test", state: "delivered", lastStatus: 250 });
  expect(result.lastAnswer).toMatch(/^250 /);
  const [mail] = await world.mailbox.waitFor(1);
  expect(mail?.subject).toBe("[TEST] Headroom reaches Team");
  expect(mail?.text).toContain("This is a test from Headroom: alerts reach Team.");
});

test("a refused recipient is final, a busy server is tried again", async () => {
  await addMail();
  world.setUse(0.9);
  world.mailbox.refuseWith(451);
  await world.run(12);
  await world.alerting.deliverer.drain();
  expect(await world.notifications()).toMatchObject([{ state: "waiting", lastStatus: 451 }]);
  world.mailbox.refuseWith(550);
  await world.skipWaiting();
  await world.alerting.deliverer.drain();
  expect(await world.notifications()).toMatchObject([
    { state: "failed", lastStatus: 550, lastAnswer: expect.stringContaining("mailbox unavailable") },
  ]);
});

test("without a mail server a mail channel cannot be added, and one that exists says what is missing", async () => {
  const { id } = await addMail();
  const kinds = createChannelKinds({ guard: createAddressGuard(), mail: null });
  const mailless = world.createInstance({ mail: null, kinds });
  await expect(
    createChannel(mailless, { kind: "email", name: "Team", enabled: true, settings: { to: ["a@example.com"] } }),
  ).rejects.toMatchObject({ code: "invalid_input", message: expect.stringContaining("SMTP_URL") });
  expect(await testChannel(mailless, id)).toMatchObject({
    state: "failed",
    lastAnswer: "Mail is not set up: set SMTP_URL and HEADROOM_MAIL_FROM and restart.",
  });
});
