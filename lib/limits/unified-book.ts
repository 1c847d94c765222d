import { LRUCache } from "lru-cache";
import type { UnifiedLimits } from "../anthropic/unified-windows.ts";
import type { Clock } from "../kit/clock.ts";
import type { WindowState } from "./schema.ts";

/** Whose windows they are: a subscription's, at an upstream. `account` is null where a call does not say. */
export type Subscriber = { upstream: string; account: string | null };

type Entry = { subscriber: Subscriber; limits: UnifiedLimits; observedMs: number };

/** Bounded, because a caller can name any account. */
const MAX_SUBSCRIBERS = 1_000;

/** What is known of the windows of claude.ai subscriptions whose calls pass through. In memory: every answer tells all. */
export class UnifiedBook {
  readonly #clock: Clock;
  readonly #entries = new LRUCache<string, Entry>({ max: MAX_SUBSCRIBERS });

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  /** Takes the windows of one answer; `sentAtMs` is when its call went to the upstream. Older news is dropped. */
  observe(subscriber: Subscriber, limits: UnifiedLimits, sentAtMs: number): void {
    const key = `${subscriber.upstream}\n${subscriber.account ?? ""}`;
    const known = this.#entries.get(key);
    if (known && known.observedMs > sentAtMs) return;
    this.#entries.set(key, { subscriber, limits, observedMs: sentAtMs });
  }

  /** Every window that has not ended, the fullest first. */
  states(): WindowState[] {
    const nowMs = this.#clock.now();
    const states: WindowState[] = [];
    for (const { subscriber, limits, observedMs } of this.#entries.values()) {
      for (const window of limits.windows) {
        if (window.resetAt !== null && Date.parse(window.resetAt) <= nowMs) continue;
        const binds = window.window === limits.representative;
        states.push({ ...subscriber, ...window, binds, observedAt: new Date(observedMs).toISOString() });
      }
    }
    return states.sort((a, b) => (b.utilisation ?? -1) - (a.utilisation ?? -1));
  }
}
