import type Anthropic from "@anthropic-ai/sdk";
import type { APIError } from "@anthropic-ai/sdk";
import { FAULTS } from "../../lib/simulator/faults.ts";
import { ENCODINGS } from "../../lib/simulator/simulator-headers.ts";
import { loadAiSdk, loadLangChain, loadOpenAi } from "./clients.ts";

/** What each client library is made to do. Every step's outcome is kept: what it returned, or how it failed. */
export type Program = (baseUrl: string) => Promise<unknown[]>;

const KEY = "sk-ant-test";
const MODEL = "claude-opus-5-5";
const WEATHER = {
  name: "get_weather",
  description: "Tells the weather of a city.",
  input_schema: {
    type: "object" as const,
    properties: { city: { type: "string" }, days: { type: "integer" } },
    required: ["city"],
  },
};
const ASK_TOOL = 'use the tool get_weather with {"city":"Zürich"}';
/** A reset before any answer is left out: a gateway has to say something then, and says 502. The next two only wait. */
const LASTING = ["reset", "stall", "slow-headers"];

export function anthropicProgram(Sdk: typeof Anthropic, key = KEY): Program {
  return async (baseURL) => {
    const client = new Sdk({ apiKey: key, authToken: null, baseURL, maxRetries: 0 });
    const ask = (content: string, more: object = {}) => ({
      ...{ model: MODEL, max_tokens: 300, messages: [{ role: "user" as const, content }] },
      ...more,
    });
    const steps: (() => PromiseLike<unknown>)[] = [
      () => client.messages.create(ask("A plain question.")),
      () => client.messages.create(ask("Größe? 😀 \u0000 \ud83d")),
      () => client.messages.create(ask(ASK_TOOL, { tools: [WEATHER] })),
      () => client.messages.stream(ask(ASK_TOOL, { tools: [WEATHER] })).finalMessage(),
      () => client.messages.create(ask("cached", { system: cached("5m") })),
      () => client.messages.create(ask("cached", { system: cached("1h") })),
      () => client.messages.create(ask("cached", { system: cached("5m") })),
      () =>
        client.messages.create(ask("Think.", { thinking: { type: "enabled", budget_tokens: 1024 }, max_tokens: 2048 })),
      () => client.messages.create(ask("fast", { speed: "fast" })),
      () => client.beta.messages.create(ask("beta", { betas: ["context-1m-2025-08-07"], inference_geo: "us" })),
      () => client.messages.countTokens({ model: MODEL, messages: [{ role: "user", content: "Count me." }] }),
      () => client.models.list({ limit: 2 }),
      () => client.models.retrieve(MODEL),
      () => client.models.retrieve("claude-none"),
      () => client.messages.create(ask("", { max_tokens: -1 })),
      () => client.messages.create(ask("no such model", { model: "claude-none" })),
      () => new Sdk({ apiKey: "nobody", authToken: null, baseURL, maxRetries: 0 }).messages.create(ask("let me in")),
      () =>
        new Sdk({ apiKey: key, authToken: null, baseURL, maxRetries: 1 }).messages.create(
          ask("again"),
          wish({ fault: "529" }),
        ),
      () => client.get("/v1/unknown/thing?with=query&and=%20more"),
      () =>
        client.post("/v1/complete", {
          body: { model: MODEL, prompt: "\n\nHuman: hi\n\nAssistant:", max_tokens_to_sample: 9 },
        }),
      ...[null, ...ENCODINGS].flatMap((encoding) => [
        () => client.messages.create(ask("encoded"), wish({ encoding })),
        () => client.messages.stream(ask("encoded"), wish({ encoding })).finalMessage(),
        () => collect(client.messages.create(ask("encoded", { stream: true as const }), wish({ encoding }))),
      ]),
      ...FAULTS.filter((fault) => !LASTING.includes(fault)).flatMap((fault) => [
        () => client.messages.create(ask(`plain with ${fault}`), wish({ fault })),
        () => client.messages.stream(ask(`stream with ${fault}`), wish({ fault })).finalMessage(),
      ]),
      () => files(client),
      () => batches(client),
    ];
    return inTurn(steps);
  };
}

function cached(ttl: "5m" | "1h") {
  return [{ type: "text", text: "Rules. ".repeat(3_000), cache_control: { type: "ephemeral", ttl } }];
}

function wish({ fault, encoding }: { fault?: string; encoding?: string | null }) {
  return {
    headers: {
      ...(fault ? { "x-simulator-fault": fault } : {}),
      ...(encoding ? { "x-simulator-encoding": encoding, "accept-encoding": encoding } : {}),
    },
  };
}

/** Everything that a stream yields. Takes anything that may be one, for what is typed differs from library to library. */
async function collect(events: PromiseLike<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const event of (await events) as AsyncIterable<unknown>) all.push(event);
  return all;
}

async function files(client: Anthropic): Promise<unknown> {
  const bytes = Buffer.alloc(300_000, "a file, and again ");
  const file = await client.beta.files.upload({ file: new File([bytes], "größe.txt", { type: "text/plain" }) });
  const metadata = await client.beta.files.retrieveMetadata(file.id);
  const { data } = await client.beta.files.list();
  const download = await client.beta.files
    .download(file.id)
    .then((answer) => answer.text())
    .catch(describe);
  const deleted = await client.beta.files.delete(file.id);
  return {
    file,
    metadata,
    data,
    download,
    deleted,
    gone: await client.beta.files.retrieveMetadata(file.id).catch(describe),
  };
}

async function batches(client: Anthropic): Promise<unknown> {
  const requests = ["one", "two", "three"].map((custom_id) => ({
    custom_id,
    params: { model: MODEL, max_tokens: 20, messages: [{ role: "user" as const, content: custom_id }] },
  }));
  const batch = await client.messages.batches.create({ requests });
  const ended = await client.messages.batches.retrieve(batch.id);
  const { data } = await client.messages.batches.list({ limit: 5 });
  const results = await collect(client.messages.batches.results(batch.id));
  const deleted = await client.messages.batches.delete(batch.id);
  return [batch, ended, ...data].map(({ results_url, ...rest }) => [rest, typeof results_url, results, deleted]);
}

export const aiSdkProgram: Program = async (baseUrl) => {
  const { createAnthropic, generateText, streamText, tool, jsonSchema } = await loadAiSdk();
  const model = createAnthropic({ baseURL: `${baseUrl}/v1`, apiKey: KEY })(MODEL);
  const tools = {
    get_weather: tool({ description: WEATHER.description, inputSchema: jsonSchema(WEATHER.input_schema) }),
  };
  const generate = async (prompt: string, more: object = {}) => {
    const { text, usage, toolCalls } = await generateText({ model, prompt, maxRetries: 0, ...more });
    return { text, usage, toolCalls };
  };
  const stream = async (prompt: string, more: object = {}) => {
    const errors: unknown[] = [];
    const onError = ({ error }: { error: unknown }) => errors.push(describe(error));
    const { textStream } = streamText({ model, prompt, maxRetries: 0, onError, ...more });
    return { parts: await collect(Promise.resolve(textStream)), errors };
  };
  return inTurn([
    () => generate("A plain question."),
    () => generate(ASK_TOOL, { tools }),
    () => stream("A streamed question."),
    () => stream(ASK_TOOL, { tools }),
    ...["529", "429-windowless", "error-event", "cut"].flatMap((fault) => [
      () => generate(`with ${fault}`, wish({ fault })),
      () => stream(`with ${fault}`, wish({ fault })),
    ]),
  ]);
};

export const langChainProgram: Program = async (baseUrl) => {
  const ChatAnthropic = await loadLangChain();
  const of = (model: string) =>
    new ChatAnthropic({ model, apiKey: KEY, anthropicApiUrl: baseUrl, maxTokens: 300, maxRetries: 0 });
  const read = async (model: ReturnType<typeof of>, prompt: string) => {
    const { content, usage_metadata, tool_calls } = await model.invoke(prompt);
    return { content, usage_metadata, tool_calls };
  };
  const model = of(MODEL);
  return inTurn([
    () => read(model, "A plain question."),
    () => read(model.bindTools([WEATHER]), ASK_TOOL),
    async () =>
      (await collect(model.stream("A streamed question."))).map((chunk) => (chunk as { content: unknown }).content),
    () => read(of("claude-none"), "no such model"),
  ]);
};

export const openAiProgram: Program = async (baseUrl) => {
  const OpenAi = await loadOpenAi();
  const client = new OpenAi({ apiKey: KEY, baseURL: `${baseUrl}/v1`, maxRetries: 0 });
  const ask = (content: string, more: object = {}) => ({
    ...{ model: MODEL, max_tokens: 200, messages: [{ role: "user", content }] },
    ...more,
  });
  const tools = [
    {
      type: "function",
      function: { name: WEATHER.name, description: WEATHER.description, parameters: WEATHER.input_schema },
    },
  ];
  const { completions } = client.chat;
  return inTurn([
    () => completions.create(ask("A plain question.")),
    () => completions.create(ask(ASK_TOOL, { tools })),
    () =>
      collect(
        completions.create(ask("A streamed question.", { stream: true, stream_options: { include_usage: true } })),
      ),
    () => completions.create(ask("no such model", { model: "claude-none" })),
    ...["529", "429-windowless", "error-event", "cut"].flatMap((fault) => [
      () => completions.create(ask(`plain with ${fault}`), wish({ fault })),
      () => collect(completions.create(ask(`stream with ${fault}`, { stream: true }), wish({ fault }))),
    ]),
  ]);
};

/** One step after the other, so that two runs do the same in the same order. */
async function inTurn(steps: readonly (() => PromiseLike<unknown>)[]): Promise<unknown[]> {
  const outcomes: unknown[] = [];
  for (const step of steps) {
    try {
      outcomes.push(await step());
    } catch (error) {
      outcomes.push(describe(error));
    }
  }
  // Methods and private state of the libraries are not what a program sees.
  return JSON.parse(JSON.stringify(outcomes));
}

function describe(error: unknown): object {
  if (!(error instanceof Error)) return { error };
  const { status, statusCode } = error as Partial<APIError> & { statusCode?: number };
  return { failed: error.name, message: error.message, status: status ?? statusCode ?? null };
}
