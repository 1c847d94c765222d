import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type Anthropic from "@anthropic-ai/sdk";

/** Client libraries that Headroom is held against and does not depend on, by the names they are installed under. */
const CLIENTS = {
  "anthropic-0": "npm:@anthropic-ai/sdk@0.137.0",
  "@ai-sdk/anthropic": "4.0.105",
  ai: "7.0.173",
  "@langchain/anthropic": "1.5.11",
  "@langchain/core": "1.4.0",
  openai: "7.57.0",
} as const;

const FOLDER = resolve(import.meta.dirname, "../../.cache/clients");

/** Installs them once, all together: 170 MB, a quarter of a minute. */
export async function installClients(): Promise<void> {
  if (Object.entries(CLIENTS).every(([name, version]) => isInstalled(name, version))) return;
  mkdirSync(FOLDER, { recursive: true });
  const wanted = Object.entries(CLIENTS).map(([name, version]) => `${name}@${version}`);
  const flags = ["--prefix", FOLDER, "--no-save", "--no-audit", "--no-fund"];
  await promisify(execFile)("npm", ["install", ...flags, ...wanted], { cwd: FOLDER, timeout: 300_000 });
}

function isInstalled(name: string, version: string): boolean {
  const path = join(FOLDER, "node_modules", name, "package.json");
  return existsSync(path) && JSON.parse(readFileSync(path, "utf8")).version === version.split("@").at(-1);
}

async function load<Module>(path: string): Promise<Module> {
  // The packages are not in node_modules here, so that nothing but this knows their types.
  return import(pathToFileURL(join(FOLDER, "node_modules", path)).href);
}

/** The last SDK before 1.0: `x-api-key` and the older API version. Its surface is the current one's where tests use it. */
export async function loadSdk0(): Promise<typeof Anthropic> {
  return (await load<{ default: typeof Anthropic }>("anthropic-0/index.mjs")).default;
}

type Prompt = { model: unknown; prompt: string; maxRetries: number; tools?: object; headers?: Record<string, string> };

export type AiSdk = {
  generateText(options: Prompt): Promise<{ text: string; usage: object; toolCalls: object[] }>;
  streamText(options: Prompt & { onError?: (event: { error: unknown }) => void }): {
    textStream: AsyncIterable<string>;
    usage: PromiseLike<object>;
  };
  tool(options: { inputSchema: unknown; description: string }): object;
  jsonSchema(schema: object): unknown;
  createAnthropic(options: { baseURL: string; apiKey: string }): (model: string) => unknown;
};

export async function loadAiSdk(): Promise<AiSdk> {
  const ai = await load<Omit<AiSdk, "createAnthropic">>("ai/dist/index.js");
  const { createAnthropic } = await load<Pick<AiSdk, "createAnthropic">>("@ai-sdk/anthropic/dist/index.js");
  return { ...ai, createAnthropic };
}

export type LangChainModel = {
  invoke(prompt: string): Promise<{ content: unknown; usage_metadata: unknown; tool_calls: unknown }>;
  stream(prompt: string): Promise<AsyncIterable<{ content: unknown }>>;
  bindTools(tools: object[]): LangChainModel;
};

export async function loadLangChain(): Promise<
  new (options: {
    model: string;
    apiKey: string;
    anthropicApiUrl: string;
    maxTokens: number;
    maxRetries: number;
  }) => LangChainModel
> {
  return (
    await load<{ ChatAnthropic: Awaited<ReturnType<typeof loadLangChain>> }>("@langchain/anthropic/dist/index.js")
  ).ChatAnthropic;
}

type ChatRequest = { model: string; max_tokens?: number; messages: object[]; stream?: boolean; tools?: object[] };

export type OpenAiClient = {
  chat: { completions: { create(request: ChatRequest, options?: object): Promise<AsyncIterable<object> & object> } };
};

export async function loadOpenAi(): Promise<
  new (options: {
    apiKey: string;
    baseURL: string;
    maxRetries: number;
  }) => OpenAiClient
> {
  return (await load<{ default: Awaited<ReturnType<typeof loadOpenAi>> }>("openai/index.mjs")).default;
}
