import { expect } from "vitest";
import type { LimitReadings } from "../../lib/traffic/dimensions.ts";
import type { UpstreamRefusal } from "../../lib/traffic/refusal-action.ts";
import type { TrafficCall } from "../../lib/traffic/ticket.ts";
import { TrafficController, type TrafficOptions } from "../../lib/traffic/traffic-controller.ts";
import { Random } from "../support/random.ts";
import { teach } from "./teach.ts";

export const LIMITS = { requests: 1_000, input_tokens: 450_000, output_tokens: 90_000 };
export const UNKNOWN = { uncachedInputTokens: null, totalInputTokens: null, outputTokens: null };
export const DEFAULT = { group: "default", pool: "opus-5", lane: "standard" } as const;

export function call(change: Partial<TrafficCall> = {}): TrafficCall {
  return {
    ...{ group: "default", pool: "opus-5", lane: "standard", class: "normal", agent: "agent", model: "claude-opus-5" },
    ...{ bytes: 4_000, maxTokens: 8_192, streams: true, deadlineS: null },
    ...change,
  };
}

export function readings(remaining: Partial<Record<keyof typeof LIMITS, number>> = {}): LimitReadings {
  const of = (limiter: keyof typeof LIMITS) => {
    const limit = LIMITS[limiter];
    const left = remaining[limiter] ?? limit;
    return { limit, remaining: left, resetInS: Math.ceil(((limit - left) * 60) / limit) };
  };
  return { requests: of("requests"), input_tokens: of("input_tokens"), output_tokens: of("output_tokens") };
}

/** A controller and what it has decided so far. */
export class Bench {
  readonly controller: TrafficController;
  readonly admitted: number[] = [];
  readonly upstreams = new Map<number, string>();
  readonly explained = new Map<
    number,
    {
      heldBy: unknown;
      position: number;
      attempts: number;
      waitS: number;
      wouldWaitS: number | null;
      upstreamReason: unknown;
    }
  >();
  readonly shed = new Map<number, { reason: string; status: number; retryAfterMs: number; shouldRetry: boolean }>();
  wakeAtS: number | null = null;

  constructor(
    options: Partial<TrafficOptions> = {},
    upstreams = ["a"],
    limits: Partial<typeof LIMITS> | null = LIMITS,
  ) {
    const random = new Random(1);
    this.controller = new TrafficController({ random: () => random.next(), ...options });
    if (limits) for (const upstream of upstreams) teach(this.controller, { ...DEFAULT, upstream }, limits);
    this.controller.setGroup("default", upstreams, 0);
  }

  arrive(nowS: number, change: Partial<TrafficCall> = {}): number {
    const arrival = this.controller.arrive(call(change), nowS);
    if (arrival.admitted === false) throw new Error(arrival.reason);
    this.pump(nowS);
    return arrival.id;
  }

  pump(nowS: number): void {
    const pumped = this.controller.pump(nowS);
    for (const { id, upstream, explanation } of pumped.admitted) {
      this.admitted.push(id);
      this.upstreams.set(id, upstream);
      this.explained.set(id, explanation);
    }
    for (const { id, refusal } of pumped.shed) this.shed.set(id, refusal);
    this.wakeAtS = pumped.wakeAtS;
  }

  /** Pumps whenever it asks to be woken. */
  run(fromS: number, untilS: number): void {
    this.pump(fromS);
    for (let steps = 0; this.wakeAtS !== null && this.wakeAtS <= untilS; steps += 1) {
      if (steps > 100_000) throw new Error("it never rests");
      this.pump(this.wakeAtS);
    }
  }

  refuse(id: number, nowS: number, change: Partial<UpstreamRefusal> = {}): boolean {
    const refusal = { status: 429, cause: null, retryAfterS: 5, limits: readings({ requests: 0 }), ...change };
    const { requeued } = this.controller.refused(id, refusal, nowS);
    this.pump(nowS);
    return requeued;
  }

  fault(id: number, nowS: number): boolean {
    return this.refuse(id, nowS, { status: 503, cause: "upstream_fault", retryAfterS: null, limits: {} });
  }

  answer(id: number, nowS: number, output = 100): void {
    const input = { uncachedInputTokens: 1_000, totalInputTokens: 1_000 };
    this.controller.head(id, { limits: {}, ...input }, nowS);
    this.controller.end(id, { ...input, outputTokens: output }, nowS);
    this.pump(nowS);
  }

  /** Takes all input, so that what comes next waits. */
  drain(nowS: number): void {
    const id = this.arrive(nowS, { class: "low", bytes: 4 * 430_000, agent: "drain" });
    expect(this.admitted).toContain(id);
  }
}
