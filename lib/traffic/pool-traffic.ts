import type { Lane } from "../anthropic/pools.ts";
import type { Affinities } from "./affinities.ts";
import { ClassService, type Turn } from "./class-service.ts";
import { CLASS_INDEXES, type ClassIndex, className } from "./classes.ts";
import type { Decisions } from "./decisions.ts";
import { IN, OUT, REQ } from "./dimensions.ts";
import { FairQueue } from "./fair-queue.ts";
import type { Demand } from "./gate.ts";
import { IndexedHeap } from "./indexed-heap.ts";
import { clamp } from "./numbers.ts";
import type { HeldBy, QueueState, TrafficMode } from "./schema.ts";
import type { Ticket } from "./ticket.ts";
import { type Candidate, type Choice, chooseUpstream } from "./upstream-choice.ts";
import type { WaitingRoom } from "./waiting-room.ts";

/** What a fair share is measured by while no limits are known. */
const USUAL_LIMITS = [1_000, 450_000, 90_000] as const;
/** While something is held, levels are looked at so often. */
const HELD_PUMP_S = 0.05;
const STANDING_AFTER_S = 5;
const STANDING_STEP = 0.05;
const ESTIMATE_AGAIN_S = 1;
/** Minutes of limit by which an agent may be ahead of the one whose turn it is, where its call fits better. */
const NEARLY_NEXT = 0.05;
/**
 * When a call may go past a front that waits for input: the share of the output bucket that is full, and the call's cost in
 * input as a share of its cost in output. It may dig as deep into input as critical, as high where the buckets hold less
 * than `deepS` of limit: what critical leaves there is less than the mirror may be wrong by.
 */
const BESIDE = { fullness: 0.85, share: 0.15, deepS: 20 };

/** The calls that compete for one pool in one lane, through the upstreams that serve it together. */
export class PoolTraffic {
  /** Of all three that tell pools apart. */
  readonly key: string;
  readonly group: string;
  readonly pool: string;
  readonly lane: Lane;
  readonly queue = new FairQueue();
  mode: TrafficMode;
  candidates: readonly Candidate[];
  usedS: number;
  /** 0 to 1: how long some call has waited for more than five seconds. */
  standing = 0;
  readonly #cacheReadsCount: boolean;
  readonly #room: WaitingRoom;
  readonly #service: ClassService;
  readonly #deadlines = new IndexedHeap<Ticket>();
  readonly #affinities: Affinities;
  #standingS: number;
  /** The last call that was held at the front: what is behind it was held by it. */
  #front: { class: ClassIndex; heldBy: HeldBy; heldS: number } | null = null;

  constructor(
    place: { group: string; pool: string; lane: Lane; cacheReadsCount: boolean },
    options: { mode: TrafficMode; candidates: readonly Candidate[]; room: WaitingRoom; affinities: Affinities },
    nowS: number,
  ) {
    this.key = `${place.group}/${place.pool}/${place.lane}`;
    this.group = place.group;
    this.pool = place.pool;
    this.lane = place.lane;
    this.mode = options.mode;
    this.candidates = options.candidates;
    this.usedS = nowS;
    this.#cacheReadsCount = place.cacheReadsCount;
    this.#room = options.room;
    this.#affinities = options.affinities;
    this.#service = new ClassService(nowS);
    this.#standingS = nowS;
  }

  enqueue(ticket: Ticket): void {
    this.#enter(ticket);
    this.queue.append(ticket);
  }

  /**
   * Puts a call back, before its agent's others, that an upstream wants to see again after a time. `leastInput` is what the
   * refusal has shown its prompt to count.
   */
  requeue(ticket: Ticket, upstream: string, notBeforeS: number, leastInput: number): void {
    ticket.leastInput = Math.max(ticket.leastInput, leastInput);
    ticket.input = Math.max(ticket.input, leastInput);
    ticket.notBefore ??= new Map();
    ticket.notBefore.set(upstream, notBeforeS);
    const times = this.candidates.map(({ mirror }) => ticket.notBefore?.get(mirror.upstream) ?? 0);
    ticket.readyS = Math.min(...times);
    this.#enter(ticket);
    this.queue.prepend(ticket);
  }

  leave(ticket: Ticket): void {
    this.queue.remove(ticket);
    this.#room.leave(ticket.call.bytes);
    if (ticket.deadlineEntry) this.#deadlines.remove(ticket.deadlineEntry);
    ticket.deadlineEntry = null;
  }

  /** Ends a call's wait so that it may be sent. */
  takeOut(ticket: Ticket, nowS: number): void {
    this.#noteWhatHeld(ticket, nowS);
    // While the queue's sums still hold it.
    this.#estimateAgain(ticket, nowS);
    this.leave(ticket);
  }

  /** Lets go what may go, and gives up what has waited too long. The time to do so again. */
  pump(nowS: number, decisions: Decisions, giveUp: (ticket: Ticket) => void): number {
    for (let due = this.#deadlines.peek(); due && due.key <= nowS; due = this.#deadlines.peek()) giveUp(due.item);
    if (this.queue.length === 0) return Number.POSITIVE_INFINITY;
    this.tick(nowS);
    const deadlineS = this.#deadlines.peek()?.key ?? Number.POSITIVE_INFINITY;
    for (let next = this.#next(nowS); next; next = this.#next(nowS)) {
      const { ticket, turn } = next;
      const choice = this.choose(ticket, turn.gatedAs, nowS);
      if (choice.to === null) {
        ticket.heldBy = choice.heldBy;
        this.#front = { class: ticket.class, heldBy: choice.heldBy, heldS: nowS };
        // Of several upstreams only the last obstacle is told, and another may have been input.
        const mayWaitForInput = choice.heldBy.limiter === "input_tokens" || this.candidates.length > 1;
        if (mayWaitForInput && this.#sendBeside(ticket.class, nowS, decisions)) continue;
        return Math.min(deadlineS, nowS + HELD_PUMP_S);
      }
      if (this.#isMove(ticket, choice.to) && this.#sendAtHome(ticket.class, turn.gatedAs, choice.to, nowS, decisions))
        continue;
      this.#release(ticket, choice, nowS, decisions);
    }
    if (this.queue.length === 0) return Number.POSITIVE_INFINITY;
    return Math.min(
      this.#deadlines.peek()?.key ?? Number.POSITIVE_INFINITY,
      this.queue.nextReadyS() ?? Number.POSITIVE_INFINITY,
    );
  }

  tick(nowS: number): void {
    this.#service.tick(nowS);
    for (const { mirror } of this.candidates) mirror.tick(nowS);
    const elapsed = Math.floor(nowS - this.#standingS);
    if (elapsed < 1) return;
    this.#standingS += elapsed;
    const stands = CLASS_INDEXES.some((index) => nowS - (this.queue.oldestS(index) ?? nowS) > STANDING_AFTER_S);
    this.standing = clamp(this.standing + (stands ? STANDING_STEP : -STANDING_STEP * elapsed), 0, 1);
  }

  /** What the call will probably count, by what is known now. */
  estimate({ shape, call }: Pick<Ticket, "shape" | "call">): { input: number; output: number } {
    const cached = this.#cacheReadsCount ? 0 : shape.cacheHit;
    return {
      input: shape.inputTokens(call.bytes) * (1 - cached),
      output: shape.remainingOutput(0, call.maxTokens),
    };
  }

  /** What of an answer's prompt counts against the limit. */
  countedInput(use: { uncachedInputTokens: number | null; totalInputTokens: number | null }): number | null {
    return this.#cacheReadsCount ? use.totalInputTokens : use.uncachedInputTokens;
  }

  choose(ticket: Ticket, gatedAs: ClassIndex, nowS: number, inputAs = gatedAs): Choice {
    this.#estimateAgain(ticket, nowS);
    const last = this.#affinities.lastOf(ticket);
    const { candidates, standing } = this;
    const demand = demandOf(ticket, ticket.input);
    const question = {
      candidates,
      standing,
      gatedAs,
      inputAs,
      last,
      demand,
      coldDemand: candidates.length > 1 ? demandOf(ticket, wholeInputOf(ticket)) : demand,
      notBefore: ticket.notBefore,
      ownCredential: ticket.ownCredential,
    };
    return chooseUpstream(question, nowS);
  }

  /** Where a call goes that is not held: to the upstream that has its prompts in the cache, else to one that is well. */
  usual(ticket: Ticket, nowS: number): Candidate | undefined {
    const last = this.#affinities.lastOf(ticket);
    const well = this.candidates.filter(({ gate }) => gate.allows(nowS, ticket.ownCredential));
    return well.find(({ mirror }) => mirror.upstream === last) ?? well[0] ?? this.candidates[0];
  }

  /** A call has arrived: what each class's betters need at once is learnt from it. */
  learnDemand(ticket: Ticket, nowS: number): void {
    let rates = 0;
    for (const { mirror } of this.candidates) rates += mirror.ledger.rate(OUT);
    for (const { mirror } of this.candidates) {
      if (!mirror.ledger.isKnown(OUT)) continue;
      const part = mirror.ledger.rate(OUT) / rates;
      mirror.reserves.arrive(ticket.class, ticket.input * part, ticket.output * part, nowS);
    }
  }

  /** The call goes out, and is charged for what it will probably cost. */
  send(ticket: Ticket, { to, reason }: Extract<Choice, { reason: unknown }>, nowS: number): void {
    const { mirror, gate } = to;
    ticket.attempts += 1;
    gate.send(ticket, nowS);
    if (this.#isMove(ticket, to)) ticket.input = wholeInputOf(ticket);
    this.#affinities.wentTo(mirror.upstream, ticket);
    const cost = this.cost(ticket.input, ticket.output);
    ticket.charged = cost;
    this.queue.countOut(ticket.agentQueue, 1);
    this.queue.charge(ticket.agentQueue, cost);
    this.#service.add(ticket.class, cost);
    const call = { demand: demandOf(ticket, ticket.input), shape: ticket.shape, streams: ticket.call.streams };
    const sending = mirror.send(call, nowS);
    ticket.sentBy = { upstream: mirror.upstream, reason, sentS: nowS, out: { mirror, sending } };
  }

  /** The call is out no longer. Charges the agent and its class what the call did cost in place of what was expected: 0 when it was refused. */
  settle(ticket: Ticket, cost: number): void {
    this.queue.countOut(ticket.agentQueue, -1);
    const difference = cost - ticket.charged;
    ticket.charged = cost;
    this.queue.adjust(ticket.agentQueue, difference);
    this.#service.add(ticket.class, difference);
  }

  /** Minutes of limit, summed over limiters, so that the binding one dominates by itself. */
  cost(input: number, output: number): number {
    return 1 / this.#limit(REQ) + input / this.#limit(IN) + output / this.#limit(OUT);
  }

  /** Seconds a call of a class will probably wait: what waits before it, by the net refill of the buckets. */
  expectedWaitS(of: ClassIndex): number {
    let input = 0;
    let output = 0;
    let requests = 0;
    for (const index of CLASS_INDEXES) {
      if (index > of) continue;
      const demand = this.queue.demandOf(index);
      input += demand.input;
      output += demand.output;
      requests += this.queue.lengthOf(index);
    }
    return Math.max(requests / this.#netRate(REQ), input / this.#netRate(IN), output / this.#netRate(OUT));
  }

  /** Calls of its own and higher classes that wait. */
  position(of: ClassIndex): number {
    let sum = 0;
    for (const index of CLASS_INDEXES) if (index <= of) sum += this.queue.lengthOf(index);
    return sum;
  }

  state(nowS: number): QueueState {
    this.#service.tick(nowS);
    const ofClass = (index: ClassIndex) => ({
      waiting: this.queue.lengthOf(index),
      oldestWaitS: Math.max(0, nowS - (this.queue.oldestS(index) ?? nowS)),
      service: this.#service.of(index),
    });
    const classes = { critical: ofClass(0), high: ofClass(1), normal: ofClass(2), low: ofClass(3) };
    return { group: this.group, pool: this.pool, lane: this.lane, mode: this.mode, classes };
  }

  /** The queued call whose turn it is; null when none waits that may be sent at this time. */
  #next(nowS: number): { ticket: Ticket; turn: Turn } | null {
    const turn = this.#service.choose((index) => this.queue.head(index, nowS) !== null);
    const ticket = turn && this.queue.head(turn.class, nowS);
    if (!turn || !ticket) return null;
    return { ticket: turn.gatedAs === 0 && turn.class !== 0 ? this.#lightestOwed(ticket, nowS) : ticket, turn };
  }

  /**
   * A class that is owed goes before critical calls that wait. When input is what is scarce, it gets its due with the call
   * that takes least of it, of an agent that is nearly next anyway: its service counts in both, and critical waits less.
   */
  #lightestOwed(head: Ticket, nowS: number): Ticket {
    const isInputScarce = this.candidates.every(({ mirror: { ledger } }) => {
      return ledger.level(IN) / ledger.capacity(IN) < ledger.level(OUT) / ledger.capacity(OUT);
    });
    if (!isInputScarce) return head;
    let lightest = head;
    for (const ticket of this.queue.headsWithin(head.class, NEARLY_NEXT, nowS)) {
      if (ticket.input * lightest.output < lightest.input * ticket.output) lightest = ticket;
    }
    return lightest;
  }

  #estimateAgain(ticket: Ticket, nowS: number): void {
    if (nowS - ticket.estimatedS < ESTIMATE_AGAIN_S) return;
    const { input, output } = this.estimate(ticket);
    this.queue.estimate(ticket, Math.max(input, ticket.leastInput), output);
    ticket.estimatedS = nowS;
  }

  #enter(ticket: Ticket): void {
    this.#room.enter(ticket.call.bytes);
    ticket.deadlineEntry = this.#deadlines.push(ticket.deadlineS, ticket);
  }

  #release(ticket: Ticket, choice: Extract<Choice, { reason: unknown }>, nowS: number, decisions: Decisions): void {
    this.takeOut(ticket, nowS);
    this.send(ticket, choice, nowS);
    decisions.admit(ticket, nowS);
  }

  /**
   * While the front waits for input and the output bucket is about to overflow, a call that takes little input for its
   * output goes past it: refill that would be lost is used, and the front waits hardly longer. It comes from an agent that
   * is nearly next anyway, so that fairness within the class stands. In a bucket too small for the reserves that keep room
   * for the front's class, no lower class goes: its answers would drain for longer than the front waits for input.
   */
  #sendBeside(front: ClassIndex, nowS: number, decisions: Decisions): boolean {
    const ledgers = this.candidates.map(({ mirror: { ledger } }) => ledger).filter((ledger) => ledger.isKnown(OUT));
    if (!ledgers.some((ledger) => ledger.level(OUT) >= BESIDE.fullness * ledger.capacity(OUT))) return false;
    const inputAs = ledgers.every((ledger) => ledger.capacity(OUT) >= BESIDE.deepS * ledger.rate(OUT)) ? 0 : 1;
    const isCramped = this.candidates.some(({ mirror: { reserves } }) => reserves.isCramped(OUT));
    for (const index of CLASS_INDEXES) {
      if (isCramped && index > front) break;
      for (const ticket of this.queue.headsWithin(index, NEARLY_NEXT, nowS)) {
        if (ticket.input / this.#limit(IN) > (BESIDE.share * ticket.output) / this.#limit(OUT)) continue;
        const choice = this.choose(ticket, ticket.class, nowS, inputAs);
        if (choice.to === null) continue;
        this.#release(ticket, choice, nowS, decisions);
        return true;
      }
    }
    return false;
  }

  /** Whether the call would leave the upstream that has its prompts in the cache. */
  #isMove(ticket: Ticket, { mirror }: Candidate): boolean {
    const last = this.#affinities.lastOf(ticket);
    return last !== undefined && last !== mirror.upstream;
  }

  /**
   * Before a call leaves its cache for an upstream that has room, another of its class goes there that has its own cache
   * there, of an agent that is nearly next: no prompt is counted whole that need not be, and the first one's own upstream
   * may have room meanwhile.
   */
  #sendAtHome(of: ClassIndex, gatedAs: ClassIndex, to: Candidate, nowS: number, decisions: Decisions): boolean {
    for (const ticket of this.queue.headsWithin(of, NEARLY_NEXT, nowS)) {
      if (this.#affinities.lastOf(ticket) !== to.mirror.upstream) continue;
      const choice = this.choose(ticket, gatedAs, nowS);
      if (choice.to !== to) continue;
      this.#release(ticket, choice, nowS, decisions);
      return true;
    }
    return false;
  }

  /** A call that never came to the front was held by those that were there while it waited. */
  #noteWhatHeld(ticket: Ticket, nowS: number): void {
    const front = this.#front;
    if (ticket.heldBy !== null || front === null || front.heldS < ticket.arrivedS || nowS === ticket.arrivedS) return;
    const { limiter } = front.heldBy;
    const isOther = front.class !== ticket.class;
    ticket.heldBy = isOther
      ? { by: "class", limiter, class: className(front.class) }
      : { by: "agent", limiter, class: null };
  }

  #limit(dimension: typeof REQ | typeof IN | typeof OUT): number {
    let sum = 0;
    for (const { mirror } of this.candidates) sum += mirror.ledger.limit(dimension);
    return sum > 0 ? sum : USUAL_LIMITS[dimension];
  }

  #netRate(dimension: typeof REQ | typeof IN | typeof OUT): number {
    let sum = 0;
    for (const { mirror } of this.candidates) sum += mirror.ledger.netRate(dimension);
    return sum > 0 ? sum : USUAL_LIMITS[dimension] / 60;
  }
}

function demandOf(ticket: Ticket, input: number): Demand {
  return {
    class: ticket.class,
    input,
    output: ticket.output,
    maxTokens: ticket.call.maxTokens,
    tokensPerS: ticket.shape.tokensPerS,
  };
}

/** What it counts where no cache serves it. */
function wholeInputOf({ input, shape, call }: Ticket): number {
  return Math.max(input, shape.inputTokens(call.bytes));
}
