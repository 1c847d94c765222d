import Anthropic from "@anthropic-ai/sdk";
import { onTestFinished } from "vitest";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../lib/simulator/simulator.ts";

export const KEY = "sk-ant-test";
export const HELLO = {
  model: "claude-opus-5-5",
  max_tokens: 500,
  messages: [{ role: "user" as const, content: "Say hello." }],
};

/** A simulator for one test and the official SDK, unmodified, pointed at it. */
export async function simulate(
  options: SimulatorOptions = {},
): Promise<{ simulator: Simulator; client: Anthropic; post: typeof post }> {
  const simulator = await startSimulator(options);
  onTestFinished(() => simulator.close());
  const client = new Anthropic({ apiKey: KEY, authToken: null, baseURL: simulator.url, maxRetries: 0 });
  return { simulator, client, post: (body, headers, path) => post(body, headers, path, simulator.url) };
}

/** A bare request, for what no SDK would send. A string goes out as it is. */
async function post(
  body: unknown,
  headers: Record<string, string | null> = {},
  path = "/v1/messages",
  url = "",
): Promise<Response> {
  const all = { "content-type": "application/json", "x-api-key": KEY, "anthropic-version": "2023-06-01", ...headers };
  return fetch(url + path, {
    method: "POST",
    headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as Record<string, string>,
    body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
  });
}
