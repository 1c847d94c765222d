import type { ObservedLimit } from "../anthropic/rate-limit-headers.ts";
import { type Clock, parseTime } from "../kit/clock.ts";
import { Beside } from "../kit/register.ts";
import type { LimitReadings } from "../traffic/dimensions.ts";
import type { UpstreamRefusal } from "../traffic/refusal-action.ts";
import type { Explanation, TrafficMode, TrafficSnapshot } from "../traffic/schema.ts";
import type { Shed } from "../traffic/shed.ts";
import type { TrafficCall } from "../traffic/ticket.ts";
import type { TrafficController } from "../traffic/traffic-controller.ts";
import type { ExpectedLimits } from "../traffic/upstreams.ts";
import type { ActualUse, InputUse } from "../traffic/use.ts";

/** A call that waits for its turn. It may be told to go more than once: an upstream that refused is asked again. */
export type Waiter = {
  go(explanation: Explanation): void;
  shed(refusal: Shed, explanation: Explanation | null): void;
};

/** Faults in a row, and 429s that name neither a limit nor a time, are tried so often at an upstream, as the SDKs do. */
const MAX_FAULTS = 3;
/** What is made of a refusal by an upstream that never answered: nothing, and it goes on as it came. */
const GIVEN_UP = { status: 400, cause: null, retryAfterS: null };
const SHORTEST_TIMER_MS = 1;

/**
 * Where calls wait. The controller judges and is told the time; the desk has the clock, wakes it when it asked to be
 * woken, and tells each call when it may go. Everything that changes the picture is followed by a pump.
 */
export class TrafficDesk {
  readonly controller: TrafficController;
  readonly #clock: Clock;
  readonly #waiters = new Beside<Waiter>();
  /** By call, what it met since an upstream last refused it for a limit or its load: that one lives, and will serve it. */
  readonly #faults = new Map<number, number>();
  readonly #groups = new Map<string, readonly string[]>();
  /** Upstreams that have answered at least once. One that never did has a wrong address, it is not down. */
  readonly #answered = new Set<string>();
  #timer: NodeJS.Timeout | null = null;
  #isPumping = false;
  #isStale = false;

  constructor(options: { controller: TrafficController; clock: Clock; expected?: ExpectedLimits }) {
    this.controller = options.controller;
    this.#clock = options.clock;
    if (options.expected) options.controller.expectLimits(options.expected);
  }

  /** Names the upstreams that serve a group together; a group that was never named is its one upstream. */
  setGroup(group: string, upstreams: readonly string[]): void {
    this.#groups.set(group, upstreams);
    this.controller.setGroup(group, upstreams, this.#now());
    this.pump();
  }

  /** Takes a call in; its ticket, or null when it was refused at once. Pump after it. */
  arrive(call: TrafficCall, waiter: Waiter): number | null {
    const arrival = this.controller.arrive(call, this.#now());
    if (arrival.admitted === false) {
      waiter.shed(arrival, null);
      return null;
    }
    this.#waiters.set(arrival.id, waiter);
    return arrival.id;
  }

  head(id: number, group: string, answer: InputUse & { limits: LimitReadings }): void {
    this.#answered.add(group);
    this.controller.head(id, answer, this.#now());
    this.pump();
  }

  progress(id: number, outputTokens: number): void {
    this.controller.progress(id, outputTokens);
  }

  end(id: number, actual: ActualUse): void {
    this.#forget(id);
    this.controller.end(id, actual, this.#now());
    this.pump();
  }

  /** The caller has gone, wherever the call is. */
  cancel(id: number): void {
    this.#forget(id);
    this.controller.cancel(id, this.#now());
    this.pump();
  }

  /** The upstream refused, or gave no answer. True when the call waits again; else the refusal is the caller's. */
  refused(id: number, group: string, refusal: UpstreamRefusal): boolean {
    if (refusal.status !== null) this.#answered.add(group);
    // An upstream that has answered and gives no answer now is away, or about to be: that is the controller's to judge.
    const isAway = refusal.status === null && this.#answered.has(group);
    const isFault =
      refusal.status === null || refusal.cause === "windowless" || (refusal.status >= 500 && refusal.status !== 529);
    const faults = isFault ? (this.#faults.get(id) ?? 0) + (isAway ? 0 : 1) : 0;
    this.#faults.set(id, faults);
    // Where several serve, the others are asked too before that is said.
    const members = this.#groups.get(group)?.length ?? 1;
    const isUnknown = faults >= members && !this.#answered.has(group);
    const isHopeless = isFault && (faults >= members * MAX_FAULTS || isUnknown);
    const told = isFault && isUnknown ? { ...refusal, ...GIVEN_UP } : refusal;
    const { requeued } = this.controller.refused(id, told, this.#now(), !isHopeless);
    if (!requeued) this.#forget(id);
    this.pump();
    return requeued;
  }

  /** Sets how pools are treated, by their ids where not as all; what waits where none is held any more goes at once. */
  setModes(general: TrafficMode, byPool: Readonly<Record<string, TrafficMode>>): void {
    this.controller.setModes(general, byPool, this.#now());
    this.pump();
  }

  /** Refuses what waits, and all that comes to wait. */
  drain(): void {
    this.controller.drain(this.#now());
    this.pump();
  }

  snapshot(): TrafficSnapshot {
    return this.controller.snapshot(this.#now());
  }

  /** Lets go what may go now. */
  pump(): void {
    this.#isStale = true;
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#isStale) {
        this.#isStale = false;
        this.#turn();
      }
    } finally {
      this.#isPumping = false;
    }
  }

  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #turn(): void {
    const now = this.#now();
    const { admitted, shed, wakeAtS } = this.controller.pump(now);
    this.close();
    if (wakeAtS !== null) {
      const waitMs = Math.max(SHORTEST_TIMER_MS, Math.ceil((wakeAtS - now) * 1000));
      this.#timer = setTimeout(() => this.pump(), waitMs);
    }
    for (const { id, explanation } of admitted) this.#waiters.get(id)?.go(explanation);
    for (const { id, refusal, explanation } of shed) {
      const waiter = this.#waiters.get(id);
      this.#forget(id);
      waiter?.shed(refusal, explanation);
    }
  }

  #forget(id: number): void {
    this.#waiters.delete(id);
    this.#faults.delete(id);
  }

  #now(): number {
    return this.#clock.monotonic() / 1000;
  }
}

/** Limits as the controller takes them: `reset` by the upstream's own clock, for the local one may be off. */
export function readingsOf(observed: readonly ObservedLimit[], lane: string, date: string | null): LimitReadings {
  const dateMs = date === null ? Number.NaN : parseTime(date);
  const readings: LimitReadings = {};
  for (const { lane: of, limiter, limit, remaining, resetAt } of observed) {
    const resetInS = resetAt === null ? Number.NaN : (parseTime(resetAt) - dateMs) / 1000;
    if (of !== lane || remaining === null || Number.isNaN(resetInS)) continue;
    readings[limiter] = { limit, remaining, resetInS };
  }
  return readings;
}
