import Anthropic from "@anthropic-ai/sdk";
import { expect, test } from "vitest";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import type { TrafficSnapshot } from "../../lib/traffic/schema.ts";
import type { CallsPage } from "../../lib/usage/schema.ts";
import { ADMIN_TOKEN, makeDataDir, startServer, type TestServer, until } from "../support/server.ts";

const POOL = "haiku-4.5";

async function modesOf(server: TestServer): Promise<Pick<TrafficSnapshot, "mode" | "poolModes">> {
  const { mode, poolModes } = await server.api<TrafficSnapshot>("/api/traffic");
  return { mode, poolModes };
}

/** Makes a call, and gives the mode that its row says it was treated under. */
async function modeOfCall(server: TestServer): Promise<string | undefined> {
  const client = new Anthropic({ baseURL: server.url, apiKey: "sk-ant-test", maxRetries: 0 });
  const request = { model: "claude-haiku-4-5", max_tokens: 50, messages: [{ role: "user" as const, content: "hi" }] };
  const { response } = await client.messages.create(request).withResponse();
  const id = response.headers.get("x-headroom-call");
  const row = await until("the call's row", async () =>
    (await server.api<CallsPage>("/api/calls")).calls.find((call) => call.id === id),
  );
  return row.traffic?.mode;
}

test("a traffic mode that an operator sets holds at once, is shown, and survives a killed process", async () => {
  const simulator = await startSimulator();
  const dataDir = makeDataDir();
  const server = await startServer({ upstreamUrl: simulator.url, dataDir });
  expect(await modesOf(server)).toEqual({ mode: "enforce", poolModes: {} });
  expect(await modeOfCall(server)).toBe("enforce");
  const change = { trafficMode: "observe", poolModes: { [POOL]: "off" } };
  await server.api("/api/settings", change, "PATCH");
  expect(await modesOf(server)).toEqual({ mode: "observe", poolModes: { [POOL]: "off" } });
  expect(await modeOfCall(server)).toBe("off");
  await server.kill();

  const again = await startServer({ upstreamUrl: simulator.url, dataDir });
  await until("the settings of before", async () => (await modesOf(again)).mode === "observe");
  expect(await modeOfCall(again)).toBe("off");
  const metrics = await fetch(`${again.url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  expect(await metrics.text()).toContain(`headroom_traffic_mode{pool="${POOL}",mode="off"} 1`);
  await again.api("/api/settings", { poolModes: {} }, "PATCH");
  expect(await modeOfCall(again)).toBe("observe");
  await again.stop();
  await simulator.close();
});
