import type { Lane } from "../anthropic/pools.ts";
import { ApiError } from "./api-error.ts";
import type { Charge } from "./charge.ts";
import type { Production } from "./pool-meter.ts";

/** Budgets of the windows in tokens, an output token counting as five. Real figures are unpublished. */
export type SubscriptionOptions = { fiveHourTokens: number; sevenDayTokens: number };

export const DEFAULT_SUBSCRIPTION: Readonly<SubscriptionOptions> = { fiveHourTokens: 5e6, sevenDayTokens: 5e7 };

type SubscriptionAdmission =
  | { admitted: true; lane: Lane; charge: Charge; headers: Record<string, string> }
  | { admitted: false; lane: Lane; error: ApiError; headers: Record<string, string> };

const OUTPUT_WEIGHT = 5;
const THRESHOLDS = [0.75, 0.95];
const HOUR_MS = 3_600_000;

/**
 * What a claude.ai subscription may use: windows that begin with their first call and end at a fixed time, told as the
 * fraction that is spent, with neither limit nor remainder. Such calls draw on no pool of the organisation.
 */
export class Subscription {
  #windows: readonly Window[];

  constructor(options: SubscriptionOptions) {
    this.#windows = [
      new Window("5h", "five_hour", 5 * HOUR_MS, options.fiveHourTokens),
      new Window("7d", "seven_day", 7 * 24 * HOUR_MS, options.sevenDayTokens),
    ];
  }

  /** The headers are those of the admission: the call's own prompt is in them, its output is not. */
  admit(call: { inputTokens: number }, nowMs: number): SubscriptionAdmission {
    for (const window of this.#windows) window.open(nowMs);
    const spent = this.#windows.filter((window) => window.utilization >= 1);
    if (spent.length > 0) {
      const resetMs = Math.max(...spent.map((window) => window.resetMs));
      const error = new ApiError(
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
        { headers: { "retry-after": String(Math.max(1, Math.ceil((resetMs - nowMs) / 1_000))) } },
      );
      return { admitted: false, lane: "standard", error, headers: this.#headers() };
    }
    this.#spend(call.inputTokens, nowMs);
    return { admitted: true, lane: "standard", charge: this.#charge(), headers: this.#headers() };
  }

  #spend(tokens: number, nowMs: number): void {
    for (const window of this.#windows) window.spend(tokens, nowMs);
  }

  #charge(): Charge {
    return {
      correctInput: (difference, nowMs) => this.#spend(difference, nowMs),
      takeOutput: (tokens, nowMs) => this.#spend(tokens * OUTPUT_WEIGHT, nowMs),
      begin: () => {},
      end: (production: Production, nowMs) => this.#spend(production.producedAt(nowMs) * OUTPUT_WEIGHT, nowMs),
      abandon: () => {},
    };
  }

  #headers(): Record<string, string> {
    const prefix = "anthropic-ratelimit-unified";
    const binding = this.#windows.reduce((worst, next) => (next.utilization > worst.utilization ? next : worst));
    const headers: Record<string, string> = {
      [`${prefix}-status`]: binding.status,
      [`${prefix}-reset`]: unixSeconds(binding.resetMs),
      [`${prefix}-representative-claim`]: binding.claim,
    };
    for (const window of this.#windows) {
      const name = `${prefix}-${window.name}`;
      headers[`${name}-status`] = window.status;
      headers[`${name}-reset`] = unixSeconds(window.resetMs);
      headers[`${name}-utilization`] = String(Math.round(window.utilization * 10_000) / 10_000);
      if (window.surpassed !== null) headers[`${name}-surpassed-threshold`] = String(window.surpassed);
    }
    headers[`${prefix}-overage-status`] = "rejected";
    headers[`${prefix}-overage-disabled-reason`] = "org_level_disabled";
    return headers;
  }
}

class Window {
  readonly name: string;
  readonly claim: string;
  resetMs = 0;
  #lengthMs: number;
  #budget: number;
  #used = 0;

  constructor(name: string, claim: string, lengthMs: number, budget: number) {
    this.name = name;
    this.claim = claim;
    this.#lengthMs = lengthMs;
    this.#budget = budget;
  }

  /** Begins anew when the last one is over. */
  open(nowMs: number): void {
    if (nowMs < this.resetMs) return;
    this.resetMs = nowMs + this.#lengthMs;
    this.#used = 0;
  }

  spend(tokens: number, nowMs: number): void {
    this.open(nowMs);
    this.#used = Math.max(0, this.#used + tokens);
  }

  get utilization(): number {
    return this.#used / this.#budget;
  }

  get surpassed(): number | null {
    return THRESHOLDS.findLast((threshold) => this.utilization >= threshold) ?? null;
  }

  get status(): "allowed" | "allowed_warning" | "rejected" {
    if (this.utilization >= 1) return "rejected";
    return this.surpassed === null ? "allowed" : "allowed_warning";
  }
}

function unixSeconds(ms: number): string {
  return String(Math.ceil(ms / 1_000));
}
