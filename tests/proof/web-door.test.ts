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
  const answer = expect(call()).rejects.toThrow();
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
