import { setTimeout as delay } from "node:timers/promises";
import type Anthropic from "@anthropic-ai/sdk";
import { AppError } from "../kit/errors.ts";

/** One arrival: when after the first, and how large. */
export type TraceCall = { atMs: number; inputTokens: number; outputTokens: number };

/**
 * Reads a trace: a CSV with a head and the columns arrival time, input tokens, output tokens. Throws `invalid_input`
 * naming the first line that is not so.
 */
export function parseTrace(csv: string): TraceCall[] {
  const lines = csv.split(/\r?\n/).slice(1);
  const calls = lines.flatMap((line, index) => {
    if (line.trim() === "") return [];
    const [time = "", input = "", output = ""] = line.split(",");
    const call = { atMs: parseTime(time), inputTokens: Number(input), outputTokens: Number(output) };
    if (Object.values(call).every((value) => Number.isFinite(value) && value >= 0)) return [call];
    throw new AppError(
      "invalid_input",
      `line ${index + 2} of the trace is not "time,input tokens,output tokens": ${line}`,
    );
  });
  calls.sort((a, b) => a.atMs - b.atMs);
  const first = calls[0]?.atMs ?? 0;
  return calls.map((call) => ({ ...call, atMs: call.atMs - first }));
}

/** Seconds, or a date and time in UTC with up to seven decimals. */
function parseTime(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const match = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?/.exec(text);
  return match ? Date.parse(`${match[1]}T${match[2]}Z`) + Number(match[3] ?? 0) * 1000 : Number.NaN;
}

export type ReplayOptions = {
  calls: readonly TraceCall[];
  client: Anthropic;
  model: string;
  /** How many times faster than it was. */
  speed: number;
  /** Every n-th call is streamed; 2 by default. */
  streamEvery?: number;
  signal: AbortSignal;
  /** Told of each call whose answer arrived whole (request id), and of each that failed. */
  onAnswer?: (requestId: string | null) => void;
  onError?: (error: unknown) => void;
};

/** Sends the calls of a trace when they are due, each with its token counts, and ends when all have been answered. */
export async function replayTrace(options: ReplayOptions): Promise<void> {
  const { calls, speed, signal } = options;
  const startedMs = performance.now();
  const open = new Set<Promise<void>>();
  for (const [index, call] of calls.entries()) {
    const waitMs = call.atMs / speed - (performance.now() - startedMs);
    if (waitMs > 0) await delay(waitMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) break;
    const answer = send(options, call, index).finally(() => open.delete(answer));
    open.add(answer);
  }
  await Promise.all(open);
}

async function send(
  { client, model, streamEvery = 2, signal, ...told }: ReplayOptions,
  call: TraceCall,
  index: number,
) {
  const request = {
    model,
    max_tokens: Math.max(1, call.outputTokens),
    messages: [{ role: "user" as const, content: `Call ${index} of a trace.` }],
  };
  const headers = {
    "x-simulator-input-tokens": String(call.inputTokens),
    "x-simulator-output-tokens": String(call.outputTokens),
    "x-headroom-agent": `trace-${index % 8}`,
  };
  try {
    if (index % streamEvery === 0) {
      const stream = client.messages.stream(request, { headers, signal });
      await stream.finalMessage();
      told.onAnswer?.(stream.request_id ?? null);
    } else {
      const message = await client.messages.create(request, { headers, signal });
      told.onAnswer?.(message._request_id ?? null);
    }
  } catch (error) {
    told.onError?.(error);
  }
}
