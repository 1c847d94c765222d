import type { Alert } from "../alerts/schema.ts";
import type { Limiter } from "../anthropic/pools.ts";
import type { Clock } from "../kit/clock.ts";
import type { LimitBook } from "../limits/limit-book.ts";
import type { TrafficSnapshot } from "../traffic/schema.ts";
import { type LiveUsage, WINDOW_SECONDS } from "../usage/live-usage.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { Costs } from "./costs.ts";
import type { Refusals } from "./refusals.ts";
import type { AgentUse, GatewayState, Overview } from "./schema.ts";
import type { Waits } from "./waits.ts";

const FIRST_CALLS = 50;
const UPDATE_SECONDS = 90;
/** Shown at rest, with published limits, until a first call tells which pools there are. */
const EXAMPLE_POOLS = ["opus-5.5", "sonnet-5.5", "haiku-5.5"];

export type OverviewSources = {
  clock: Clock;
  live: LiveUsage;
  limits: LimitBook;
  costs: Costs;
  refusals: Refusals;
  waits: Waits;
  alerts: () => Alert[];
  traffic: () => TrafficSnapshot;
  gateway: () => GatewayState;
};

/** The overview of this instant, and the feed that repeats it every second while anybody looks. */
export class OverviewHub {
  readonly #sources: OverviewSources;
  readonly #watchers = new Set<(event: string) => void>();
  /** The last calls, newest first, and those that no page has seen. As JSON: one text is less to keep than a record. */
  readonly #recent: string[] = [];
  #fresh: string[] = [];
  #timer: NodeJS.Timeout | null = null;
  #hasCalls = false;

  constructor(sources: OverviewSources) {
    this.#sources = sources;
  }

  /** Takes a call that has just ended, and the same as it was recorded. */
  add(call: CallRecord, json: string): void {
    this.#hasCalls = true;
    if (this.#recent.length === FIRST_CALLS) this.#recent.pop();
    this.#recent.unshift(json);
    if (this.#watchers.size > 0 && this.#fresh.length < FIRST_CALLS) this.#fresh.unshift(json);
    this.#sources.costs.add(call);
    this.#sources.refusals.add(call);
    this.#sources.waits.add(call);
  }

  /** Takes what an earlier process had recorded, newest first. */
  warm(calls: readonly CallRecord[], hasCalls: boolean): void {
    const room = FIRST_CALLS - this.#recent.length;
    this.#recent.push(...calls.slice(0, room).map((call) => JSON.stringify(call)));
    this.#hasCalls ||= hasCalls;
  }

  /** Everything that a page needs to draw itself from nothing. */
  first(): Overview {
    return this.#overview(WINDOW_SECONDS, this.#recent);
  }

  /** Sends the whole overview at once and what changed every second, as JSON. Returns how to stop. */
  watch(send: (overviewJson: string) => void): () => void {
    this.#watchers.add(send);
    send(JSON.stringify(this.first()));
    this.#timer ??= setInterval(() => this.#tick(), 1000).unref();
    return () => {
      this.#watchers.delete(send);
      if (this.#watchers.size === 0) this.close();
    };
  }

  close(): void {
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Who used most of a limiter in the last minute, as shares of what all agents used. */
  topAgents(key: string, limiter: Limiter): { agent: string; share: number }[] {
    const uses = this.#sources.live
      .agents()
      .filter((entry) => entry.key === key)
      .map(({ agent, use }) => {
        const input = use.input + use.cacheWrite;
        const amounts = {
          requests: use.requests,
          input_tokens: input,
          output_tokens: use.output,
          tokens: input + use.output,
        };
        return { agent, amount: amounts[limiter] };
      });
    const total = uses.reduce((sum, { amount }) => sum + amount, 0);
    if (total === 0) return [];
    uses.sort((a, b) => b.amount - a.amount);
    return uses.slice(0, 3).map(({ agent, amount }) => ({ agent, share: amount / total }));
  }

  #tick(): void {
    const event = JSON.stringify(this.#overview(UPDATE_SECONDS, this.#fresh));
    this.#fresh = [];
    for (const send of this.#watchers) send(event);
  }

  #overview(seconds: number, calls: readonly string[]): Overview {
    const { clock, live, limits, costs, refusals, waits, alerts, traffic, gateway } = this.#sources;
    const nowMs = clock.now();
    const now = Math.floor(nowMs / 1000);
    const seen = limits.states();
    const state = gateway();
    return {
      at: new Date(nowMs).toISOString(),
      hasCalls: this.#hasCalls,
      gateway: state,
      pools: seen.length > 0 ? seen : limits.unseen(EXAMPLE_POOLS, state.upstream),
      series: Object.fromEntries(seen.map(({ key }) => [key, rounded(live.series(key, now - seconds + 1, now))])),
      agents: this.#agents(),
      calls: calls.map((json): CallRecord => JSON.parse(json)),
      alerts: alerts(),
      refusals: refusals.list(),
      queue: waits.state(traffic()),
      cost: costs.today(),
    };
  }

  #agents(): AgentUse[] {
    const agents = new Map<string, AgentUse>();
    for (const { agent, key, use } of this.#sources.live.agents()) {
      const costTodayNanoUsd = this.#sources.costs.ofAgent(agent);
      const sums = agents.get(agent) ?? {
        ...{ agent, calls: 0, countedInput: 0, cacheRead: 0, output: 0, refused: 0, pools: {}, costTodayNanoUsd },
      };
      const input = use.input + use.cacheWrite;
      sums.calls += use.requests;
      sums.countedInput += input;
      sums.cacheRead += use.cacheRead;
      sums.output += Math.round(use.output);
      sums.refused += use.refused;
      sums.pools[key] = { requests: use.requests, input_tokens: input, output_tokens: Math.round(use.output) };
      agents.set(agent, sums);
    }
    return [...agents.values()].sort((a, b) => b.countedInput - a.countedInput || b.calls - a.calls);
  }
}

/** Output is spread over seconds in fractions; a tenth of a token is as exact as a chart needs. */
function rounded(series: ReturnType<LiveUsage["series"]>): ReturnType<LiveUsage["series"]> {
  return { ...series, output: series.output.map((value) => Math.round(value * 10) / 10) };
}
