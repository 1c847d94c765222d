import { getPool, type Lane } from "../anthropic/pools.ts";
import { type ClassIndex, classIndex } from "./classes.ts";
import { type Admitted, Decisions, type ShedCall } from "./decisions.ts";
import { DIMENSIONS, type LimitReadings, limiterOf } from "./dimensions.ts";
import { Estimator } from "./estimator.ts";
import { PoolTraffic } from "./pool-traffic.ts";
import { ACCELERATION_CUT, OVERLOAD_CUT } from "./ramp.ts";
import { chooseAction, isLimit, type RefusalAction, type UpstreamRefusal } from "./refusal-action.ts";
import type { ShedReason, TrafficMode, TrafficSnapshot } from "./schema.ts";
import type { Shed } from "./shed.ts";
import type { Ticket, TrafficCall } from "./ticket.ts";
import { Upstreams } from "./upstreams.ts";
import { type ActualUse, type InputUse, UNKNOWN_USE } from "./use.ts";
import { WaitingRoom } from "./waiting-room.ts";

const DEADLINES_S: readonly [number, number, number, number] = [60, 120, 240, 480];
/** SDKs give up after 600 s: a minute is left for the answer. */
const LONGEST_WAIT_S = 540;
const MAX_FAILURES = 6;
/** A fifth of a fault: an overloaded upstream still serves some, and the ramp is what answers it. */
const OVERLOAD_WEIGHT = 0.2;
const FAIL_FAST_SHARE = 0.85;
const SWEEP_S = 60;
const FORGET_AFTER_S = 3_600;
/** No answer lasts so long: what is still out then was lost, and its room with it. */
const LOST_AFTER_S = 7_200;

export type TrafficOptions = {
  /** From 0 up to 1. Only jitter depends on it. */
  random: () => number;
  /** Of pools that nothing else is said of. */
  mode?: TrafficMode;
  /** Set where others share the limits unseen, such as instances without a common ledger. */
  learnsDrift?: boolean;
};

/** `wakeAtS`: when to pump again if nothing happens before; null when nothing waits. */
export type Pumped = { admitted: Admitted[]; shed: ShedCall[]; wakeAtS: number | null };

/**
 * Decides when each call goes to an upstream, and to which. It judges and never acts: it is told of arrivals, answers and
 * ends with the time in seconds of a clock that never goes back, and says at each pump which calls may go and which are
 * refused. Whoever calls `arrive`, `head`, `end`, `refused` or `cancel` pumps after it.
 */
export class TrafficController {
  readonly #random: () => number;
  readonly #estimator = new Estimator();
  readonly #upstreams: Upstreams;
  readonly #decisions: Decisions;
  readonly #room = new WaitingRoom();
  readonly #tickets = new Map<number, Ticket>();
  readonly #pools = new Map<string, PoolTraffic>();
  readonly #waiting = new Set<PoolTraffic>();
  readonly #modes = new Map<string, TrafficMode>();
  #mode: TrafficMode;
  #isDraining = false;
  #nextId = 1;
  #sweptS = Number.NEGATIVE_INFINITY;

  constructor(options: TrafficOptions) {
    this.#random = options.random;
    this.#mode = options.mode ?? "enforce";
    this.#upstreams = new Upstreams(options.learnsDrift ?? false);
    this.#decisions = new Decisions(options.random);
  }

  /** Names the upstreams that serve a group together. A group that was never set is its own upstream. */
  setGroup(group: string, upstreams: readonly string[], nowS: number): void {
    this.#upstreams.setGroup(group, upstreams);
    for (const pool of this.#pools.values()) {
      if (pool.group === group) pool.candidates = this.#upstreams.candidates(pool, nowS);
    }
  }

  /** Sets how a pool is treated, by its id, in all groups and lanes. Null is for all that are not named otherwise. */
  setMode(pool: string | null, mode: TrafficMode): void {
    if (pool === null) this.#mode = mode;
    else this.#modes.set(pool, mode);
    for (const known of this.#pools.values()) known.mode = this.#modeOf(known.pool);
  }

  /** Limits known from elsewhere, such as an operator or the last run: until headers say more, their buckets are full. */
  expectLimits(
    place: { upstream: string; pool: string; lane: Lane },
    limits: Partial<Record<keyof LimitReadings, number>>,
    nowS: number,
  ): void {
    const { ledger } = this.#upstreams.mirror(place, nowS);
    for (const dimension of DIMENSIONS) {
      const limit = limits[limiterOf(dimension)];
      if (limit !== undefined && limit > 0) ledger.setLimit(dimension, limit, limit);
    }
  }

  /** Takes no more calls; what waits is refused at the next pump. */
  drain(nowS: number): void {
    this.#isDraining = true;
    for (const pool of this.#waiting) this.#shedAll(pool, "draining", nowS);
  }

  /** A call has arrived: its ticket, or why it is refused at once. */
  arrive(call: TrafficCall, nowS: number): { admitted: null; id: number } | Shed {
    this.#decisions.count("arrived");
    const pool = this.#pool(call, nowS);
    const ticket = this.#issue(call, pool, nowS);
    if (pool.mode !== "off") {
      pool.tick(nowS);
      pool.learnDemand(ticket, nowS);
    }
    const objection = this.#objection(ticket, nowS);
    if (objection) return this.#decisions.refuse(ticket, objection, nowS);
    this.#tickets.set(ticket.id, ticket);
    if (pool.mode === "enforce") this.#enqueue(ticket);
    else this.#sendUnheld(ticket, nowS);
    return { admitted: null, id: ticket.id };
  }

  /** The caller has gone: a call that waits leaves the queue, one that is out ends with what it has produced. */
  cancel(id: number, nowS: number): void {
    const ticket = this.#tickets.get(id);
    if (!ticket) return;
    this.#decisions.count("canceled");
    if (ticket.sentBy) this.end(id, UNKNOWN_USE, nowS);
    else this.#remove(ticket);
  }

  /**
   * The answer has begun: its headers are here, and of a stream its first event. Once a sending; the input is null where
   * the answer brings it only at its end.
   */
  head(id: number, answer: InputUse & { limits: LimitReadings }, nowS: number): void {
    const ticket = this.#tickets.get(id);
    if (!ticket?.sentBy) return;
    const { upstream, out } = ticket.sentBy;
    this.#upstreams.answered(upstream, nowS);
    if (!out) return;
    this.#learnInput(ticket, answer);
    out.mirror.head(out.sending, ticket.pool.countedInput(answer), answer.limits, nowS);
  }

  /** A stream has produced so many tokens of output in all. Cheap enough for every delta. */
  progress(id: number, outputTokens: number): void {
    const out = this.#tickets.get(id)?.sentBy?.out;
    if (out) out.mirror.streams.progress(out.sending.stream, outputTokens);
  }

  /** The answer is over, whole or cut; a cut one may know its output only in part, or not at all. */
  end(id: number, actual: ActualUse, nowS: number): void {
    const ticket = this.#tickets.get(id);
    if (!ticket?.sentBy) return;
    this.#tickets.delete(id);
    const { upstream, out } = ticket.sentBy;
    if (!out) return;
    const { mirror, sending } = out;
    const { stream } = sending;
    if (!sending.hasHead) this.#upstreams.gate(upstream).abandon(nowS);
    this.#learnInput(ticket, actual);
    const output = actual.outputTokens ?? stream.produced;
    mirror.end(sending, { countedInput: ticket.pool.countedInput(actual), output }, nowS);
    if (actual.outputTokens !== null) {
      const streamedS = stream.streams && stream.firstByteS !== null ? nowS - stream.firstByteS : 0;
      ticket.shape.learnOutput(output, streamedS);
    }
    ticket.pool.settle(ticket, ticket.pool.cost(sending.input, output));
  }

  /**
   * The upstream refused before the first byte, or gave no answer. `requeued`: the call waits again, and a pump will say
   * when it goes; else the refusal is the caller's, and the call is over.
   */
  refused(id: number, refusal: UpstreamRefusal, nowS: number): { requeued: boolean } {
    const ticket = this.#tickets.get(id);
    if (!ticket?.sentBy) return { requeued: false };
    const { pool } = ticket;
    const { upstream, out } = ticket.sentBy;
    ticket.sentBy = null;
    const reservesOutput = out?.mirror.ledger.accounting === "reserve";
    const action = chooseAction(
      refusal,
      {
        inputTokens: ticket.shape.inputTokens(ticket.call.bytes),
        reservedOutput: reservesOutput ? ticket.call.maxTokens : 1,
        ...{ failures: ticket.failures, attempts: ticket.attempts },
      },
      this.#random(),
    );
    if (out) {
      out.mirror.refused(out.sending, refusal.limits, isLimit(action), nowS);
      pool.settle(ticket, 0);
      this.#react(action, ticket, upstream, nowS);
    }
    const notBeforeS = this.#retryAt(action, ticket, nowS);
    if (notBeforeS === null) {
      this.#tickets.delete(id);
      return { requeued: false };
    }
    this.#decisions.count("requeued");
    pool.requeue(ticket, upstream, notBeforeS, action.kind === "bucket" ? action.leastInput : 0);
    this.#waiting.add(pool);
    return { requeued: true };
  }

  /** Lets go what may go now, and gives up what has waited too long. */
  pump(nowS: number): Pumped {
    if (nowS - this.#sweptS >= SWEEP_S) this.#sweep(nowS);
    let wakeAtS = Number.POSITIVE_INFINITY;
    for (const pool of this.#waiting) {
      const isDown = pool.candidates.every(({ gate }) => gate.isDown || gate.isStopped);
      const giveUp = (ticket: Ticket) => this.#shed(ticket, isDown ? "upstream_down" : "deadline", nowS);
      wakeAtS = Math.min(wakeAtS, pool.pump(nowS, this.#decisions, giveUp));
      if (pool.queue.length === 0) this.#waiting.delete(pool);
    }
    return { ...this.#decisions.take(), wakeAtS: wakeAtS === Number.POSITIVE_INFINITY ? null : wakeAtS };
  }

  snapshot(nowS: number): TrafficSnapshot {
    const pools = [...this.#pools.values()];
    const standingAt = (place: { pool: string; lane: Lane }) =>
      Math.max(
        0,
        ...pools.filter(({ pool, lane }) => pool === place.pool && lane === place.lane).map((one) => one.standing),
      );
    return {
      waiting: this.#room.length,
      waitingBytes: this.#room.bytes,
      open: this.#tickets.size - this.#room.length,
      queues: pools.map((pool) => pool.state(nowS)),
      ledgers: [...this.#upstreams.mirrors()].map((mirror) => mirror.state(standingAt(mirror), nowS)),
      upstreams: [...this.#upstreams.gates()].map((gate) => gate.state(nowS)),
      counts: this.#decisions.counts(),
    };
  }

  #issue(call: TrafficCall, pool: PoolTraffic, nowS: number): Ticket {
    const index = classIndex(call.class);
    const shape = this.#estimator.of(call.agent, call.model);
    const waitS = Math.min(call.deadlineS ?? DEADLINES_S[index], LONGEST_WAIT_S);
    return {
      ...{ id: this.#nextId++, call, class: index, pool, shape, arrivedS: nowS, deadlineS: nowS + waitS },
      agentQueue: pool.queue.agentQueue(call.agent, index, call.weight ?? 1),
      position: pool.position(index),
      ...pool.estimate({ shape, call }),
      ...{ estimatedS: nowS, hasTaughtInput: false, notBefore: null, readyS: 0, attempts: 0, failures: 0 },
      ...{ heldBy: null, wouldWaitS: null, sentBy: null, charged: 0, leastInput: 0 },
      ...{ deadlineEntry: null, previous: null, next: null },
    };
  }

  /** Why a call cannot even wait. */
  #objection(ticket: Ticket, nowS: number): ShedReason | null {
    const { pool, call, agentQueue } = ticket;
    if (this.#isDraining) return "draining";
    if (pool.candidates.every(({ gate }) => gate.isStopped && !gate.allows(nowS))) return "upstream_stopped";
    if (pool.mode !== "enforce") return null;
    if (!this.#room.hasPlaceForAgent(agentQueue, call.bytes)) return "agent_queue_full";
    if (!this.#room.hasPlaceFor(call.bytes) && !this.#makePlace(ticket.class, call.bytes, nowS)) return "queue_full";
    const own = agentQueue.first;
    const tooLate = FAIL_FAST_SHARE * (ticket.deadlineS - nowS);
    if (call.failFast && own && agentQueue.length >= 3 && nowS - own.arrivedS > tooLate) return "predicted_wait";
    return null;
  }

  /** Gives up the newest of the lowest class for a call of a higher one. */
  #makePlace(above: ClassIndex, bytes: number, nowS: number): boolean {
    while (!this.#room.hasPlaceFor(bytes)) {
      let lowest: Ticket | null = null;
      for (const pool of this.#waiting) {
        const candidate = pool.queue.newestBelow(above);
        if (candidate && candidate.class > (lowest?.class ?? above)) lowest = candidate;
      }
      if (lowest === null) return false;
      this.#shed(lowest, "queue_full", nowS);
    }
    return true;
  }

  #enqueue(ticket: Ticket): void {
    ticket.pool.enqueue(ticket);
    this.#waiting.add(ticket.pool);
  }

  /** Under `observe` a call is judged, and under both `observe` and `off` it goes at once. */
  #sendUnheld(ticket: Ticket, nowS: number): void {
    const { pool } = ticket;
    const [first] = pool.candidates;
    if (!first) {
      this.#enqueue(ticket);
      return;
    }
    if (pool.mode === "off") {
      ticket.attempts = 1;
      const to = pool.candidates.find(({ gate }) => gate.allows(nowS)) ?? first;
      ticket.sentBy = { upstream: to.mirror.upstream, reason: "only", sentS: nowS, out: null };
    } else {
      const choice = pool.choose(ticket, ticket.class, nowS);
      if (choice.to === null) {
        ticket.heldBy = choice.heldBy;
        ticket.wouldWaitS = choice.waitS;
        pool.send(ticket, { to: first, reason: pool.candidates.length === 1 ? "only" : "headroom" }, nowS);
      } else {
        ticket.wouldWaitS = 0;
        pool.send(ticket, choice, nowS);
      }
    }
    this.#decisions.admit(ticket, nowS);
  }

  #learnInput(ticket: Ticket, use: InputUse): void {
    if (ticket.hasTaughtInput || use.uncachedInputTokens === null || use.totalInputTokens === null) return;
    ticket.hasTaughtInput = true;
    ticket.shape.learnInput(ticket.call.bytes, use.uncachedInputTokens, use.totalInputTokens);
  }

  /** What a refusal means to all others. */
  #react(action: RefusalAction, ticket: Ticket, upstream: string, nowS: number): void {
    const mirror = this.#upstreams.mirror({ upstream, pool: ticket.call.pool, lane: ticket.call.lane }, nowS);
    const gate = this.#upstreams.gate(upstream);
    if (action.kind === "fault" || action.kind === "overload") {
      ticket.failures += 1;
      gate.fail(nowS, this.#random(), action.kind === "fault" ? 1 : OVERLOAD_WEIGHT);
      mirror.ramp.cut(OVERLOAD_CUT, nowS);
      return;
    }
    if (action.kind === "stop" && this.#mayStop(action, ticket.pool)) {
      gate.stop(action.cause, nowS);
      for (const pool of this.#waiting) {
        if (pool.candidates.every((one) => one.gate.isStopped)) this.#shedAll(pool, "upstream_stopped", nowS);
      }
      return;
    }
    this.#upstreams.answered(upstream, nowS);
    if (action.kind !== "acceleration") return;
    mirror.ramp.cut(ACCELERATION_CUT, nowS);
    mirror.pause(nowS + action.pauseS);
  }

  /** A caller's own credential that is not valid is the caller's affair, and may be another the next time. */
  #mayStop(action: Extract<RefusalAction, { kind: "stop" }>, pool: PoolTraffic): boolean {
    return action.cause !== "authentication" || this.#upstreams.isConfigured(pool.group);
  }

  /** When the refused call may go again; null when it may not. Past its deadline the queue gives up what a limit refused. */
  #retryAt(action: RefusalAction, ticket: Ticket, nowS: number): number | null {
    const { pool } = ticket;
    if (pool.mode !== "enforce" || this.#isDraining || (nowS >= ticket.deadlineS && !isLimit(action))) return null;
    if (action.kind === "stop")
      return pool.candidates.some(({ gate }) => !gate.isStopped && gate.allows(nowS)) && this.#mayStop(action, pool)
        ? nowS
        : null;
    if (action.kind === "pass" || ticket.failures >= MAX_FAILURES) return null;
    return nowS + action.waitS;
  }

  #shed(ticket: Ticket, reason: ShedReason, nowS: number): void {
    this.#decisions.shed(ticket, reason, nowS);
    this.#remove(ticket);
  }

  #shedAll(pool: PoolTraffic, reason: ShedReason, nowS: number): void {
    for (const ticket of [...pool.queue.tickets()]) this.#shed(ticket, reason, nowS);
  }

  #remove(ticket: Ticket): void {
    ticket.pool.leave(ticket);
    this.#tickets.delete(ticket.id);
  }

  #modeOf(pool: string): TrafficMode {
    return this.#modes.get(pool) ?? this.#mode;
  }

  #pool({ group, pool: id, lane }: TrafficCall, nowS: number): PoolTraffic {
    const key = `${group}/${id}/${lane}`;
    let pool = this.#pools.get(key);
    if (!pool) {
      const { cacheReadsCount } = getPool(id);
      const candidates = this.#upstreams.candidates({ group, pool: id, lane }, nowS);
      const place = { group, pool: id, lane, cacheReadsCount };
      pool = new PoolTraffic(place, { mode: this.#modeOf(id), candidates, room: this.#room }, nowS);
      this.#pools.set(key, pool);
    }
    pool.usedS = nowS;
    return pool;
  }

  /** Ends what was lost and forgets what is no longer used, so that memory and room never leak away. */
  #sweep(nowS: number): void {
    this.#sweptS = nowS;
    for (const [id, { sentBy }] of this.#tickets) {
      if (sentBy && nowS - sentBy.sentS > LOST_AFTER_S) this.end(id, UNKNOWN_USE, nowS);
    }
    const beforeS = nowS - FORGET_AFTER_S;
    for (const [key, pool] of this.#pools) {
      if (pool.usedS < beforeS && pool.queue.length === 0) this.#pools.delete(key);
    }
    const used = new Set([...this.#pools.values()].flatMap((pool) => pool.candidates.map(({ mirror }) => mirror)));
    this.#upstreams.forget(beforeS, (mirror) => used.has(mirror));
  }
}
