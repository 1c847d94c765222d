import { Register } from "../kit/register.ts";
import type { ClassIndex } from "./classes.ts";
import { type Admitted, Decisions, type ShedCall } from "./decisions.ts";
import type { LimitReadings } from "./dimensions.ts";
import { Estimator } from "./estimator.ts";
import type { Mirror } from "./mirror.ts";
import { Modes } from "./modes.ts";
import type { PoolTraffic } from "./pool-traffic.ts";
import { ACCELERATION_CUT, OVERLOAD_CUT } from "./ramp.ts";
import { chooseAction, isLimit, type RefusalAction, type UpstreamRefusal } from "./refusal-action.ts";
import type { ShedReason, TrafficMode, TrafficSnapshot } from "./schema.ts";
import { sendUnheld } from "./send-unheld.ts";
import type { Shed } from "./shed.ts";
import { issueTicket, type Ticket, type TrafficCall } from "./ticket.ts";
import { TrafficPools } from "./traffic-pools.ts";
import { type ExpectedLimits, Upstreams } from "./upstreams.ts";
import { type ActualUse, type InputUse, UNKNOWN_USE } from "./use.ts";
import { WaitingRoom } from "./waiting-room.ts";

const MAX_FAILURES = 6;
/** A fifth of a fault: an overloaded upstream still serves some, and the ramp is what answers it. */
const OVERLOAD_WEIGHT = 0.2;
const FAIL_FAST_SHARE = 0.85;
/** So few queues are looked at whether anything waits in them or not: to note each time that one is empty costs more. */
const FEW_QUEUES = 16;
const SWEEP_S = 60;
/** No answer lasts so long: what is still out then was lost, and its room with it. */
const LOST_AFTER_S = 7_200;

export type TrafficOptions = {
  /** From 0 up to 1. Only jitter depends on it. */
  random: () => number;
  /** Of all pools, until `setModes` says otherwise. */
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
  readonly #tickets = new Register<Ticket>();
  readonly #pools: TrafficPools;
  /** Where calls wait, and a few where they did. */
  readonly #waiting = new Set<PoolTraffic>();
  readonly #modes: Modes;
  #isDraining = false;
  #sweptS = Number.NEGATIVE_INFINITY;

  constructor(options: TrafficOptions) {
    this.#random = options.random;
    this.#modes = new Modes(options.mode ?? "enforce");
    this.#upstreams = new Upstreams(options.learnsDrift ?? false);
    this.#decisions = new Decisions(options.random);
    this.#pools = new TrafficPools({ upstreams: this.#upstreams, modes: this.#modes, room: this.#room });
  }

  /** Names the upstreams that serve a group together. A group that was never set is its one upstream. */
  setGroup(group: string, upstreams: readonly string[], nowS: number): void {
    this.#upstreams.setGroup(group, upstreams);
    for (const pool of this.#pools.all()) {
      if (pool.group === group) pool.candidates = this.#upstreams.candidates(pool, nowS);
    }
  }

  /** Sets how pools are treated, those named in `byPool` otherwise than all. What waits where none is held goes at once. */
  setModes(general: TrafficMode, byPool: Readonly<Record<string, TrafficMode>>, nowS: number): void {
    this.#modes.general = general;
    this.#modes.byPool = byPool;
    for (const pool of this.#pools.all()) pool.mode = this.#modes.of(pool.pool);
    for (const pool of this.#waiting) if (pool.mode !== "enforce") this.#letGo(pool, nowS);
  }

  /**
   * Where limits are known from before an upstream's first answer. They measure shares and costs; how much room there is
   * only an answer tells, so until the first one comes three calls at a time go to ask.
   */
  expectLimits(expected: ExpectedLimits): void {
    this.#upstreams.expected = expected;
  }

  /** Whether an upstream did well when it was last asked: for calls that are not held, and so not tried again. */
  isWell(upstream: string): boolean {
    return this.#upstreams.gate(upstream).isWell;
  }

  /** Takes no more calls; what waits is refused at the next pump. */
  drain(nowS: number): void {
    this.#isDraining = true;
    for (const pool of this.#waiting) this.#shedAll(pool, "draining", nowS);
  }

  /** A call has arrived: its ticket, or why it is refused at once. */
  arrive(call: TrafficCall, nowS: number): { admitted: null; id: number } | Shed {
    this.#decisions.count("arrived");
    const pool = this.#pools.use(call, nowS);
    const shape = this.#estimator.of(call.agent, call.model);
    const ticket = issueTicket({ call, pool, shape }, nowS);
    if (pool.mode !== "off") {
      pool.tick(nowS);
      pool.learnDemand(ticket, nowS);
    }
    const objection = this.#objection(ticket, nowS);
    if (objection) return this.#decisions.refuse(ticket, objection, nowS);
    ticket.id = this.#tickets.add(ticket);
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
    this.#upstreams.answered(upstream, ticket.ownCredential, nowS);
    if (!out) return;
    this.#pools.prove(ticket.pool);
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
    if (!out) {
      ticket.pool.queue.countOut(ticket.agentQueue, -1);
      return;
    }
    const { mirror, sending } = out;
    const { stream } = sending;
    if (!sending.hasHead) this.#upstreams.gate(upstream).abandon(id, nowS);
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
   * when it goes; else the refusal is the caller's, and the call is over. It is over in any case unless it `mayWait`.
   */
  refused(id: number, refusal: UpstreamRefusal, nowS: number, mayWait = true): { requeued: boolean } {
    const ticket = this.#tickets.get(id);
    if (!ticket?.sentBy) return { requeued: false };
    const { pool } = ticket;
    const { upstream, out } = ticket.sentBy;
    // If nobody answers still at an upstream that is down, that says nothing of the call.
    const isUnheard = refusal.status === null && this.#upstreams.gate(upstream).isDown;
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
      out.mirror.refused(out.sending, refusal.limits, action, nowS);
      pool.settle(ticket, 0);
      if (!isUnheard && (action.kind === "fault" || action.kind === "overload")) ticket.failures += 1;
      this.#react(action, ticket, out.mirror, nowS);
    } else pool.queue.countOut(ticket.agentQueue, -1);
    const notBeforeS = mayWait ? this.#retryAt(action, ticket, nowS) : null;
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
      if (pool.queue.length === 0) {
        if (this.#waiting.size > FEW_QUEUES) this.#waiting.delete(pool);
        continue;
      }
      const isDown = pool.candidates.every(({ gate }) => gate.isDown || gate.isStopped(false));
      const giveUp = (ticket: Ticket) => this.#shed(ticket, isDown ? "upstream_down" : "deadline", nowS);
      wakeAtS = Math.min(wakeAtS, pool.pump(nowS, this.#decisions, giveUp));
    }
    return { ...this.#decisions.take(), wakeAtS: wakeAtS === Number.POSITIVE_INFINITY ? null : wakeAtS };
  }

  snapshot(nowS: number): TrafficSnapshot {
    const pools = [...this.#pools.all()];
    const standing = new Map<string, number>();
    for (const { pool, lane, standing: stood } of pools) {
      const place = `${pool}/${lane}`;
      standing.set(place, Math.max(standing.get(place) ?? 0, stood));
    }
    const standingAt = ({ pool, lane }: Mirror) => standing.get(`${pool}/${lane}`) ?? 0;
    return {
      mode: this.#modes.general,
      poolModes: { ...this.#modes.byPool },
      waiting: this.#room.length,
      waitingBytes: this.#room.bytes,
      open: this.#tickets.size - this.#room.length,
      queues: pools.map((pool) => pool.state(nowS)),
      ledgers: [...this.#upstreams.mirrors()].map((mirror) => mirror.state(standingAt(mirror), nowS)),
      upstreams: [...this.#upstreams.gates()].map((gate) => gate.state(nowS)),
      counts: this.#decisions.counts(),
    };
  }

  /** Why a call cannot even wait. Where none is held it goes as long as there is an upstream. */
  #objection(ticket: Ticket, nowS: number): ShedReason | null {
    const { pool, call, agentQueue } = ticket;
    if (pool.candidates.length > 0 && pool.mode !== "enforce") return null;
    if (this.#isDraining) return "draining";
    const own = ticket.ownCredential;
    if (pool.candidates.every(({ gate }) => gate.isStopped(own) && !gate.allows(nowS, own))) return "upstream_stopped";
    if (!this.#room.hasPlaceForAgent(agentQueue, call.bytes)) return "agent_queue_full";
    if (!this.#room.hasPlaceFor(call.bytes) && !this.#makePlace(ticket.class, call.bytes, nowS)) return "queue_full";
    const first = agentQueue.first;
    const tooLate = FAIL_FAST_SHARE * (ticket.deadlineS - nowS);
    if (call.failFast && first && agentQueue.length >= 3 && nowS - first.arrivedS > tooLate) return "predicted_wait";
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

  #sendUnheld(ticket: Ticket, nowS: number): void {
    if (sendUnheld(ticket, nowS)) this.#decisions.admit(ticket, nowS);
    else this.#enqueue(ticket);
  }

  /** The pool holds calls no longer. */
  #letGo(pool: PoolTraffic, nowS: number): void {
    for (const ticket of [...pool.queue.tickets()]) {
      pool.takeOut(ticket, nowS);
      this.#sendUnheld(ticket, nowS);
    }
  }

  #learnInput(ticket: Ticket, use: InputUse): void {
    if (ticket.hasTaughtInput || use.uncachedInputTokens === null || use.totalInputTokens === null) return;
    ticket.hasTaughtInput = true;
    ticket.shape.learnInput(ticket.call.bytes, use.uncachedInputTokens, use.totalInputTokens);
  }

  /** What a refusal means to all others. */
  #react(action: RefusalAction, ticket: Ticket, mirror: Mirror, nowS: number): void {
    const { upstream } = mirror;
    const gate = this.#upstreams.gate(upstream);
    if (action.kind === "fault" || action.kind === "overload") {
      gate.fail(ticket.id, nowS, this.#random(), action.kind === "fault" ? 1 : OVERLOAD_WEIGHT);
      mirror.ramp.cut(OVERLOAD_CUT, nowS);
      return;
    }
    if (action.kind === "timeout") {
      gate.fail(ticket.id, nowS, this.#random(), 1);
      return;
    }
    if (action.kind === "stop" && mayStop(action, ticket)) {
      this.#upstreams.stopped(upstream, action.cause, nowS);
      for (const pool of this.#waiting) {
        this.#shedAll(pool, "upstream_stopped", nowS, ({ ownCredential }) =>
          pool.candidates.every((one) => one.gate.isStopped(ownCredential)),
        );
      }
      return;
    }
    this.#upstreams.answered(upstream, ticket.ownCredential, nowS);
    if (action.kind !== "acceleration") return;
    mirror.ramp.cut(ACCELERATION_CUT, nowS);
    mirror.pause(nowS + action.pauseS);
  }

  /** When the refused call may go again; null when it may not. Past its deadline the queue gives up what a limit refused. */
  #retryAt(action: RefusalAction, ticket: Ticket, nowS: number): number | null {
    const { pool } = ticket;
    if (pool.mode !== "enforce" || this.#isDraining || (nowS >= ticket.deadlineS && !isLimit(action))) return null;
    if (action.kind === "stop") {
      const own = ticket.ownCredential;
      const hasOther = pool.candidates.some(({ gate }) => !gate.isStopped(own) && gate.allows(nowS, own));
      return hasOther && mayStop(action, ticket) ? nowS : null;
    }
    if (action.kind === "pass" || action.kind === "timeout" || ticket.failures >= MAX_FAILURES) return null;
    return nowS + action.waitS;
  }

  #shed(ticket: Ticket, reason: ShedReason, nowS: number): void {
    this.#decisions.shed(ticket, reason, nowS);
    this.#remove(ticket);
  }

  #shedAll(pool: PoolTraffic, reason: ShedReason, nowS: number, which: (ticket: Ticket) => boolean = () => true): void {
    for (const ticket of [...pool.queue.tickets()]) if (which(ticket)) this.#shed(ticket, reason, nowS);
  }

  #remove(ticket: Ticket): void {
    ticket.pool.leave(ticket);
    this.#tickets.delete(ticket.id);
  }

  /** Ends what was lost and forgets what is no longer used, so that memory and room never leak away. */
  #sweep(nowS: number): void {
    this.#sweptS = nowS;
    for (const { id, sentBy } of this.#tickets.all()) {
      if (sentBy && nowS - sentBy.sentS > LOST_AFTER_S) this.end(id, UNKNOWN_USE, nowS);
    }
    for (const pool of this.#pools.forget(nowS)) this.#waiting.delete(pool);
  }
}

/** A caller's own credential that is not valid is the caller's affair, and may be another the next time. */
function mayStop(action: Extract<RefusalAction, { kind: "stop" }>, { ownCredential }: Ticket): boolean {
  return action.cause !== "authentication" || !ownCredential;
}
