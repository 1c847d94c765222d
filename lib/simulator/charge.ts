import type { PoolMeter, Production } from "./pool-meter.ts";

/** What an admitted call goes on to cost. */
export type Charge = {
  /** Corrects the input that was estimated at admission; a negative difference gives back. */
  correctInput(difference: number, nowMs: number): void;
  /** Output that is charged at once, whatever the accounting: of samplings that nobody sees being made. */
  takeOutput(tokens: number, nowMs: number): void;
  begin(production: Production, nowMs: number): void;
  end(production: Production, nowMs: number): void;
  /** Instead of `begin` and `end`, for a call whose answer never begins. */
  abandon(nowMs: number): void;
};

/** Takes a request and its tokens out of settled meters; returns what each holds of its output bucket. */
export function takePrompt(meters: readonly PoolMeter[], call: { inputTokens: number; maxTokens?: number }): number[] {
  meters[0]?.buckets.requests.take(1);
  return takeTokens(meters, call);
}

export function takeTokens(meters: readonly PoolMeter[], call: { inputTokens: number; maxTokens?: number }): number[] {
  return meters.map((meter) => {
    meter.buckets.input_tokens.take(call.inputTokens);
    const held = meter.outputHold(call.maxTokens ?? 0);
    if (held > 0) meter.buckets.output_tokens.take(held);
    return held;
  });
}

/** `held` is what admission took of each meter's output bucket, in the order of the meters. */
export function chargeOf(meters: readonly PoolMeter[], held: readonly number[]): Charge {
  return {
    correctInput: (difference, nowMs) => {
      for (const meter of meters) {
        meter.settle(nowMs);
        meter.buckets.input_tokens.take(difference);
      }
    },
    takeOutput: (tokens, nowMs) => {
      for (const meter of meters) {
        meter.settle(nowMs);
        meter.buckets.output_tokens.take(tokens);
      }
    },
    begin: (production, nowMs) => {
      for (const meter of meters) meter.begin(production, nowMs);
    },
    end: (production, nowMs) => {
      for (const [index, meter] of meters.entries()) meter.end(production, nowMs, held[index] ?? 0);
    },
    abandon: (nowMs) => {
      for (const [index, meter] of meters.entries()) meter.release(held[index] ?? 0, nowMs);
    },
  };
}
