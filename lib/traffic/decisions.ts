import { className } from "./classes.ts";
import type { Explanation, ShedReason, TrafficSnapshot } from "./schema.ts";
import { type Shed, shedFor } from "./shed.ts";
import type { Ticket } from "./ticket.ts";

export type Admitted = { id: number; upstream: string; explanation: Explanation };
export type ShedCall = { id: number; refusal: Shed; explanation: Explanation };

/** What was decided since the last pump, and counts of all that ever was. */
export class Decisions {
  readonly #random: () => number;
  readonly #counts = { arrived: 0, admitted: 0, requeued: 0, canceled: 0 };
  readonly #shedCounts: Record<ShedReason, number> = {
    queue_full: 0,
    agent_queue_full: 0,
    predicted_wait: 0,
    deadline: 0,
    upstream_stopped: 0,
    upstream_down: 0,
    draining: 0,
  };
  #admitted: Admitted[] = [];
  #shed: ShedCall[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  count(what: "arrived" | "requeued" | "canceled"): void {
    this.#counts[what] += 1;
  }

  admit(ticket: Ticket, nowS: number): void {
    this.#counts.admitted += 1;
    const upstream = ticket.sentBy?.upstream ?? "";
    this.#admitted.push({ id: ticket.id, upstream, explanation: explain(ticket, nowS) });
  }

  /** A call that waited is refused. */
  shed(ticket: Ticket, reason: ShedReason, nowS: number): void {
    this.#shed.push({ id: ticket.id, refusal: this.refuse(ticket, reason, nowS), explanation: explain(ticket, nowS) });
  }

  /** The refusal of a call, counted. */
  refuse(ticket: Ticket, reason: ShedReason, nowS: number): Shed {
    this.#shedCounts[reason] += 1;
    const ownHead = ticket.agentQueue.first;
    const waitS = ownHead ? nowS - ownHead.arrivedS : ticket.pool.expectedWaitS(ticket.class);
    return shedFor(reason, ticket.call, waitS, this.#random());
  }

  take(): { admitted: Admitted[]; shed: ShedCall[] } {
    const taken = { admitted: this.#admitted, shed: this.#shed };
    if (taken.admitted.length > 0) this.#admitted = [];
    if (taken.shed.length > 0) this.#shed = [];
    return taken;
  }

  counts(): TrafficSnapshot["counts"] {
    return { ...this.#counts, shed: { ...this.#shedCounts } };
  }
}

function explain(ticket: Ticket, nowS: number): Explanation {
  const { pool, sentBy } = ticket;
  return {
    mode: pool.mode,
    class: className(ticket.class),
    waitS: Math.max(0, nowS - ticket.arrivedS),
    wouldWaitS: pool.mode === "observe" ? ticket.wouldWaitS : null,
    heldBy: ticket.heldBy,
    position: ticket.position,
    attempts: ticket.attempts,
    upstream: sentBy?.upstream ?? null,
    upstreamReason: sentBy?.reason ?? null,
    fallbackFrom: null,
  };
}
