import { CLASS_INDEXES, type ClassIndex } from "./classes.ts";
import { type HeapEntry, IndexedHeap } from "./indexed-heap.ts";
import type { Ticket } from "./ticket.ts";

const MAX_IDLE_AGENTS = 1_024;

/** One agent's waiting calls of one class, first come first served. */
export type AgentQueue = {
  readonly agent: string;
  readonly class: ClassIndex;
  weight: number;
  /** What the agent got, in minutes of limit by its weight: the smallest goes next. */
  virtual: number;
  first: Ticket | null;
  last: Ticket | null;
  length: number;
  bytes: number;
  /** Calls that were sent and have not come back or ended. */
  out: number;
  /** In the heap of those that may go, by `virtual`, or of those that wait for a time. Null when empty. */
  place: { heap: IndexedHeap<AgentQueue>; entry: HeapEntry<AgentQueue> } | null;
};

type ClassQueue = {
  agents: Map<string, AgentQueue>;
  ready: IndexedHeap<AgentQueue>;
  delayed: IndexedHeap<AgentQueue>;
  /** No agent that comes back starts below this: idleness earns no credit. */
  floor: number;
  length: number;
  out: number;
  input: number;
  output: number;
};

/** The waiting calls of a pool: classes, agents in each, calls of each. All steps are logarithmic in the agents. */
export class FairQueue {
  readonly #classes: readonly [ClassQueue, ClassQueue, ClassQueue, ClassQueue] = [
    emptyClass(),
    emptyClass(),
    emptyClass(),
    emptyClass(),
  ];
  length = 0;
  /** Calls that were sent and have not come back or ended. */
  out = 0;

  agentQueue(agent: string, of: ClassIndex, weight: number): AgentQueue {
    const queue = this.#classes[of];
    let found = queue.agents.get(agent);
    if (!found) {
      if (queue.agents.size >= MAX_IDLE_AGENTS + queue.length + queue.out) this.#forgetIdle(queue);
      found = {
        ...{ agent, class: of, weight, virtual: queue.floor },
        ...{ first: null, last: null, length: 0, bytes: 0, out: 0, place: null },
      };
      queue.agents.set(agent, found);
    }
    found.weight = weight;
    return found;
  }

  append(ticket: Ticket): void {
    const agent = this.#enter(ticket);
    ticket.previous = agent.last;
    ticket.next = null;
    if (agent.last) agent.last.next = ticket;
    else agent.first = ticket;
    agent.last = ticket;
    this.#place(agent);
  }

  /** Puts a call back that the upstream refused, before all others of its agent. */
  prepend(ticket: Ticket): void {
    const agent = this.#enter(ticket);
    ticket.next = agent.first;
    ticket.previous = null;
    if (agent.first) agent.first.previous = ticket;
    else agent.last = ticket;
    agent.first = ticket;
    this.#place(agent);
  }

  remove(ticket: Ticket): void {
    const agent = ticket.agentQueue;
    if (ticket.previous) ticket.previous.next = ticket.next;
    else agent.first = ticket.next;
    if (ticket.next) ticket.next.previous = ticket.previous;
    else agent.last = ticket.previous;
    ticket.previous = null;
    ticket.next = null;
    this.#count(ticket, -1);
    this.#place(agent);
  }

  /** The call of a class that goes next; null when none waits that may be sent at this time. */
  head(of: ClassIndex, nowS: number): Ticket | null {
    const queue = this.#classes[of];
    for (let due = queue.delayed.peek(); due && due.key <= nowS; due = queue.delayed.peek()) {
      this.#move(due.item, queue.ready, due.item.virtual);
    }
    return queue.ready.peek()?.item.first ?? null;
  }

  /** The heads of the agents that have got at most so much more than the one whose turn it is, up to 16 of them. */
  *headsWithin(of: ClassIndex, lead: number, nowS: number): Generator<Ticket> {
    if (this.head(of, nowS) === null) return;
    const { ready } = this.#classes[of];
    let count = 0;
    for (const { first } of ready.upTo((ready.peek()?.key ?? 0) + lead)) {
      if (first) yield first;
      count += 1;
      if (count === 16) return;
    }
  }

  /** A call of the agent's goes out, or is out no longer. An agent with calls out is not forgotten: one may come back. */
  countOut(agent: AgentQueue, sign: 1 | -1): void {
    agent.out += sign;
    this.#classes[agent.class].out += sign;
    this.out += sign;
  }

  /** A call goes out and is charged for what it will probably cost. */
  charge(agent: AgentQueue, cost: number): void {
    const queue = this.#classes[agent.class];
    queue.floor = Math.max(queue.floor, agent.virtual);
    this.adjust(agent, cost);
  }

  /** Charges the difference to what a call did cost; negative to give back. */
  adjust(agent: AgentQueue, cost: number): void {
    agent.virtual += cost / agent.weight;
    if (agent.place?.heap === this.#classes[agent.class].ready) {
      agent.place.heap.rekey(agent.place.entry, agent.virtual);
    }
  }

  /** What a waiting call will probably cost is now thought to be this. */
  estimate(ticket: Ticket, input: number, output: number): void {
    const queue = this.#classes[ticket.class];
    queue.input += input - ticket.input;
    queue.output += output - ticket.output;
    ticket.input = input;
    ticket.output = output;
  }

  lengthOf(of: ClassIndex): number {
    return this.#classes[of].length;
  }

  /** Expected tokens that wait in a class. */
  demandOf(of: ClassIndex): { input: number; output: number } {
    return this.#classes[of];
  }

  /** When the next agent that waits for a time may go; null when none does. */
  nextReadyS(): number | null {
    const times = CLASS_INDEXES.flatMap((index) => this.#classes[index].delayed.peek()?.key ?? []);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** When the longest waiting head of a class arrived; null when none waits. */
  oldestS(of: ClassIndex): number | null {
    let oldest: number | null = null;
    for (const { first } of this.#classes[of].agents.values()) {
      if (first && (oldest === null || first.arrivedS < oldest)) oldest = first.arrivedS;
    }
    return oldest;
  }

  /** The newest call of the agent that has most waiting in the lowest class below `above`. */
  newestBelow(above: ClassIndex): Ticket | null {
    for (const index of [3, 2, 1] as const) {
      if (index <= above || this.#classes[index].length === 0) continue;
      let longest: AgentQueue | null = null;
      for (const agent of this.#classes[index].agents.values()) {
        if (agent.length > (longest?.length ?? 0)) longest = agent;
      }
      return longest?.last ?? null;
    }
    return null;
  }

  *tickets(): Generator<Ticket> {
    for (const queue of this.#classes) {
      for (const agent of queue.agents.values()) {
        for (let ticket = agent.first; ticket; ) {
          const { next } = ticket;
          yield ticket;
          ticket = next;
        }
      }
    }
  }

  #enter(ticket: Ticket): AgentQueue {
    const agent = ticket.agentQueue;
    const queue = this.#classes[agent.class];
    if (agent.length === 0) agent.virtual = Math.max(agent.virtual, queue.floor);
    this.#count(ticket, 1);
    return agent;
  }

  #count(ticket: Ticket, sign: 1 | -1): void {
    const agent = ticket.agentQueue;
    const queue = this.#classes[agent.class];
    agent.length += sign;
    agent.bytes += sign * ticket.call.bytes;
    this.length += sign;
    queue.length += sign;
    queue.input = queue.length === 0 ? 0 : queue.input + sign * ticket.input;
    queue.output = queue.length === 0 ? 0 : queue.output + sign * ticket.output;
  }

  #place(agent: AgentQueue): void {
    const queue = this.#classes[agent.class];
    const { first } = agent;
    if (!first) {
      agent.place?.heap.remove(agent.place.entry);
      agent.place = null;
    } else if (first.readyS > 0) this.#move(agent, queue.delayed, first.readyS);
    else this.#move(agent, queue.ready, agent.virtual);
  }

  #move(agent: AgentQueue, heap: IndexedHeap<AgentQueue>, key: number): void {
    if (agent.place?.heap === heap) {
      heap.rekey(agent.place.entry, key);
      return;
    }
    agent.place?.heap.remove(agent.place.entry);
    agent.place = { heap, entry: heap.push(key, agent) };
  }

  /** Who has nothing waiting and no debt loses nothing by being forgotten; if too many have debts, the oldest go. */
  #forgetIdle(queue: ClassQueue): void {
    for (const mayOwe of [false, true]) {
      for (const [name, agent] of queue.agents) {
        if (queue.agents.size < 0.75 * MAX_IDLE_AGENTS + queue.length + queue.out) return;
        if (agent.length === 0 && agent.out === 0 && (mayOwe || agent.virtual <= queue.floor))
          queue.agents.delete(name);
      }
    }
  }
}

function emptyClass(): ClassQueue {
  return {
    agents: new Map(),
    ready: new IndexedHeap(),
    delayed: new IndexedHeap(),
    floor: 0,
    length: 0,
    out: 0,
    input: 0,
    output: 0,
  };
}
