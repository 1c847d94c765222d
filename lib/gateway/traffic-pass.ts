import type { Tokens } from "../anthropic/usage.ts";
import type { LimitReadings } from "../traffic/dimensions.ts";
import type { UpstreamRefusal } from "../traffic/refusal-action.ts";
import type { Explanation, TrafficMode } from "../traffic/schema.ts";
import type { TrafficCall } from "../traffic/ticket.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { TrafficDesk, Waiter } from "./traffic-desk.ts";

/** What an upstream is told to have said that has only shown to be alive. */
const ALIVE = { status: 400, cause: null, retryAfterS: null, limits: {} };

/** One call's dealings with traffic control: told once of each thing, and of nothing after its end. */
export class TrafficPass {
  readonly #desk: TrafficDesk;
  readonly #group: string;
  #ticket: number | null = null;
  #readings: LimitReadings | null = null;
  #mode: TrafficMode = "enforce";

  constructor(desk: TrafficDesk, group: string) {
    this.#desk = desk;
    this.#group = group;
  }

  /** Asks to go; the waiter may hear before this returns. */
  enter(call: TrafficCall, waiter: Waiter): void {
    const go = (explanation: Explanation) => {
      this.#mode = explanation.mode;
      waiter.go(explanation);
    };
    this.#ticket = this.#desk.arrive(call, { ...waiter, go });
    this.#desk.pump();
  }

  /** Whether a refusal is kept back until it is read, and known what becomes of the call. */
  get keepsRefusals(): boolean {
    return this.#mode !== "off";
  }

  /** Whether a refusal may be answered by anything but itself. */
  get mayTryElse(): boolean {
    return this.#mode === "enforce";
  }

  /** A good answer's headers are here. A stream's prompt is counted in its first event, a plain answer's at its end. */
  began(limits: LimitReadings, isCountedFirst: boolean): void {
    if (isCountedFirst) this.#readings = limits;
    else this.#head(limits, null);
  }

  /** The stream has counted. */
  counted(usage: Tokens): void {
    if (this.#readings === null) return;
    this.#head(this.#readings, usage);
    this.#readings = null;
  }

  produced(outputTokens: number): void {
    if (this.#ticket !== null) this.#desk.progress(this.#ticket, outputTokens);
  }

  /** True when the call waits again. */
  refused(refusal: UpstreamRefusal): boolean {
    if (this.#ticket === null) return false;
    const isWaiting = this.#desk.refused(this.#ticket, this.#group, refusal);
    if (!isWaiting) this.#ticket = null;
    return isWaiting;
  }

  /** The call turns out to draw on other limits than these: it counts for nothing here, and says nothing of them. */
  leave(): void {
    if (this.#ticket !== null) this.#desk.refused(this.#ticket, this.#group, ALIVE);
    this.#ticket = null;
    this.#readings = null;
  }

  /** The call is over and written down. */
  end(call: CallRecord | null): void {
    const ticket = this.#ticket;
    if (ticket === null) return;
    this.#ticket = null;
    if (call === null || call.outcome === "canceled") {
      this.#desk.cancel(ticket);
      return;
    }
    const uncached = call.inputTokens + call.cacheWriteTokens;
    const isKnown = uncached + call.cacheReadTokens > 0;
    this.#desk.end(ticket, {
      uncachedInputTokens: isKnown ? uncached : null,
      totalInputTokens: isKnown ? uncached + call.cacheReadTokens : null,
      outputTokens: isKnown ? call.outputTokens : null,
    });
  }

  #head(limits: LimitReadings, usage: Tokens | null): void {
    if (this.#ticket === null) return;
    const uncached = usage === null ? null : usage.inputTokens + usage.cacheWriteTokens;
    this.#desk.head(this.#ticket, this.#group, {
      limits,
      uncachedInputTokens: uncached,
      totalInputTokens: usage === null || uncached === null ? null : uncached + usage.cacheReadTokens,
    });
  }
}
