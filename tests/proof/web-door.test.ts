import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { openDoor } from "../support/gateway.ts";
import { startLiveUpstream } from "../support/upstream.ts";

test("a client that leaves is noticed at the web door however long ago its Request was forgotten", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const left = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    res.on("close", () => left.resolve());
    arrived.resolve();
  });
  onTestFinished(upstream.close);
  const { gateway, records, close } = await openDoor("web", upstream.url);
  onTestFinished(close);
  const client = new AbortController();
  const call = () =>
    gateway.handleWeb(new Request("http://a/v1/messages", { method: "POST", body: "{}", signal: client.signal }));
  const answer = call();
  await arrived.promise;
  for (let round = 0; round < 5; round += 1) {
    collectGarbage();
    await turn();
  }
  client.abort();
  await Promise.all([answer, left.promise]);
  expect(await records.only()).toMatchObject({ outcome: "canceled" });
  expect(gateway.openCalls).toBe(0);
});

test("what was forwarded before a cut still arrives at the web door, however late it is read", async () => {
  const sent = Buffer.alloc(50_000, "an answer that is cut ");
  const upstream = await startLiveUpstream((req, res) => {
    req.resume();
    res.writeHead(200, { "content-type": "application/octet-stream" });
    res.write(sent, () => res.socket?.end());
  });
  onTestFinished(upstream.close);
  const { gateway, records, close } = await openDoor("web", upstream.url);
  onTestFinished(close);
  const answer = await gateway.handleWeb(new Request("http://a/v1/files/x/content"));
  expect(await records.only()).toMatchObject({ outcome: "partial" });
  const arrived: Uint8Array[] = [];
  const reading = (async () => {
    for await (const chunk of answer.body ?? []) arrived.push(chunk);
  })();
  await expect(reading).rejects.toThrow("cut off");
  expect(Buffer.concat(arrived).equals(sent)).toBe(true);
});
