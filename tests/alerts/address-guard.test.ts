import { afterEach, beforeEach, expect, test } from "vitest";
import { createAddressGuard } from "../../lib/alerts/channels/address-guard.ts";
import type { Notice } from "../../lib/alerts/channels/channel.ts";
import { createWebhook } from "../../lib/alerts/channels/webhook.ts";
import { openWebhookReceiver, type WebhookReceiver } from "../support/webhook-receiver.ts";

let receiver: WebhookReceiver;
beforeEach(async () => {
  receiver = await openWebhookReceiver();
});
afterEach(() => receiver.close());

const SECRET = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
const notice: Notice = {
  id: "019a0000-0000-7000-8000-000000000001",
  event: "alert.test",
  eventNumber: 1,
  createdAt: "2026-11-23T08:00:00.000Z",
  alert: null,
  channelName: "Test",
  url: "https://headroom.example.com/alerts",
};

async function send(url: string, options: Parameters<typeof createAddressGuard>[0] = {}) {
  const kind = createWebhook({ guard: createAddressGuard(options), timeoutMs: 5_000 });
  try {
    return await kind.send(notice, { settings: { url }, secrets: [SECRET] });
  } finally {
    await kind.close();
  }
}

test.each([
  "127.0.0.1",
  "2130706433",
  "0x7f.1",
  "127.1",
  "0177.0.0.1",
  "１２７.０.０.１",
  "[::1]",
  "[::ffff:127.0.0.1]",
  "0",
  "[::]",
  "169.254.169.254",
  "[fe80::1]",
  "[fd00::1]",
  "100.64.0.1",
  "10.0.0.1",
  "172.16.0.1",
  "192.168.1.1",
  "[64:ff9b::7f00:1]",
  "[64:ff9b:1::7f00:1]",
  "[2002:7f00:1::]",
  "[::127.0.0.1]",
  "168.63.129.16",
  "255.255.255.255",
  "224.0.0.1",
])("%s is refused when it is saved and when it is sent to", async (host) => {
  const url = `http://${host}:${receiver.port}/`;
  const kind = createWebhook({ guard: createAddressGuard() });
  expect(() => kind.check({ url })).toThrow(/not a public address/);
  await kind.close();
  expect(await send(url)).toMatchObject({ outcome: "failed", permanent: true, uncertain: false });
  expect(receiver.received).toEqual([]);
});

test.each(["localhost", "localhost.", "LOCALHOST", "anything.localhost"])("the name %s is refused", async (host) => {
  expect(await send(`http://${host}:${receiver.port}/`)).toMatchObject({
    outcome: "failed",
    permanent: true,
    answer: expect.stringContaining("not a public address"),
  });
  expect(receiver.received).toEqual([]);
});

test("a name that leads to this machine is refused once it has been looked up", async () => {
  const url = `http://innocent.example.com:${receiver.port}/`;
  expect(createAddressGuard().checkUrl(url)).toBeNull();
  for (const resolve of [async () => ["127.0.0.1"], async () => ["::1"], async () => ["::ffff:10.0.0.1"]]) {
    expect(await send(url, { resolve })).toMatchObject({
      outcome: "failed",
      permanent: true,
      answer: expect.stringContaining("not a public address"),
    });
  }
  expect(receiver.received).toEqual([]);
});

test.each(["ftp://example.com/", "file:///etc/passwd", "https://user:password@example.com/", "not a url"])(
  "%s is refused",
  (url) => {
    expect(createAddressGuard().checkUrl(url)).not.toBeNull();
  },
);

test.each(["https://hooks.example.com/x", "https://8.8.8.8/", "https://[2606:4700::1111]/"])("%s is allowed", (url) => {
  expect(createAddressGuard().checkUrl(url)).toBeNull();
});

test("a server on loopback may call its own machine, and still nothing else that is private", async () => {
  expect(await send(receiver.url, { allowLoopback: true })).toMatchObject({ outcome: "delivered" });
  expect(createAddressGuard({ allowLoopback: true }).checkUrl("http://169.254.169.254/")).not.toBeNull();
});

test("networks of the operator's own are opened by name and by address, and only those", async () => {
  const options = { allowedCidrs: ["127.0.0.1/32", "fd12::/16"] };
  expect(await send(receiver.url, options)).toMatchObject({ outcome: "delivered" });
  expect(
    await send(`http://localhost:${receiver.port}/`, { ...options, resolve: async () => ["127.0.0.1"] }),
  ).toMatchObject({
    outcome: "delivered",
  });
  const guard = createAddressGuard(options);
  expect(guard.checkUrl("http://127.0.0.2/")).not.toBeNull();
  expect(guard.checkUrl("http://[fd12::1]/")).toBeNull();
  expect(guard.checkUrl("http://[fd13::1]/")).not.toBeNull();
});

// The allowed address stands in for a public one: no test may leave the machine.
const REBINDING = { allowedCidrs: ["127.0.0.1/32"] };

test("a name that is public at first and private the next time is refused the next time", async () => {
  const answers = [["127.0.0.1"], ["127.0.0.2"]];
  const guard = createAddressGuard({ ...REBINDING, resolve: async () => answers.shift() ?? [] });
  const kind = createWebhook({ guard, timeoutMs: 5_000 });
  const target = { settings: { url: `http://rebind.example.com:${receiver.port}/` }, secrets: [SECRET] };
  receiver.answerWith((response) => response.writeHead(204, { connection: "close" }).end());
  expect(await kind.send(notice, target)).toMatchObject({ outcome: "delivered" });
  expect(await kind.send(notice, target)).toMatchObject({ outcome: "failed", permanent: true });
  expect(receiver.received).toHaveLength(1);
  expect(answers).toEqual([]);
  await kind.close();
});

test("a name is looked up once per connection, so there is no moment between check and use", async () => {
  let lookups = 0;
  const resolve = async () => (++lookups === 1 ? ["127.0.0.1"] : ["127.0.0.2"]);
  expect(await send(`http://rebind.example.com:${receiver.port}/`, { ...REBINDING, resolve })).toMatchObject({
    outcome: "delivered",
  });
  expect(lookups).toBe(1);
});

test("one private address among several is enough to refuse a name", async () => {
  const resolve = async () => ["127.0.0.1", "10.0.0.1"];
  expect(await send(`http://mixed.example.com:${receiver.port}/`, { ...REBINDING, resolve })).toMatchObject({
    outcome: "failed",
    permanent: true,
  });
  expect(receiver.received).toEqual([]);
});

test("a proxy named in the environment is not used", async () => {
  const proxy = await openWebhookReceiver();
  const before = process.env.HTTP_PROXY;
  process.env.HTTP_PROXY = proxy.url;
  try {
    expect(await send(receiver.url, { allowLoopback: true })).toMatchObject({ outcome: "delivered" });
    expect(proxy.received).toEqual([]);
  } finally {
    if (before === undefined) delete process.env.HTTP_PROXY;
    else process.env.HTTP_PROXY = before;
    await proxy.close();
  }
});
