import type { Ticket } from "./ticket.ts";
import type { Candidate } from "./upstream-choice.ts";

/**
 * Sends a call of a pool that holds none. Under `observe` it is judged first, and what would have held it is written
 * down; under `off` it goes unseen. False when there is no upstream to send it to.
 */
export function sendUnheld(ticket: Ticket, nowS: number): boolean {
  const { pool } = ticket;
  const usual = pool.usual(ticket, nowS);
  if (!usual) return false;
  if (pool.mode === "off") sendUnseen(ticket, usual, nowS);
  else sendJudged(ticket, usual, nowS);
  return true;
}

function sendJudged(ticket: Ticket, usual: Candidate, nowS: number): void {
  const { pool } = ticket;
  const waitedS = nowS - ticket.arrivedS;
  const choice = pool.choose(ticket, ticket.class, nowS);
  if (choice.to === null) {
    ticket.heldBy = choice.heldBy;
    ticket.wouldWaitS = waitedS + choice.waitS;
    pool.send(ticket, { to: usual, reason: pool.candidates.length === 1 ? "only" : "headroom" }, nowS);
  } else {
    ticket.wouldWaitS = waitedS;
    pool.send(ticket, choice, nowS);
  }
}

function sendUnseen(ticket: Ticket, { mirror }: Candidate, nowS: number): void {
  ticket.attempts += 1;
  ticket.pool.queue.countOut(ticket.agentQueue, 1);
  ticket.sentBy = { upstream: mirror.upstream, reason: "only", sentS: nowS, out: null };
}
