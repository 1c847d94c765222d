import type { AgentQueue } from "./fair-queue.ts";

export const MAX_WAITING = 10_000;
export const MAX_WAITING_BYTES = 256 * 1024 * 1024;
const MAX_AGENT_WAITING = Math.max(64, 0.2 * MAX_WAITING);
const MAX_AGENT_BYTES = 64 * 1024 * 1024;

/** Counts what waits in all queues together: it is memory that is bounded here, whatever the limits say. */
export class WaitingRoom {
  length = 0;
  bytes = 0;

  enter(bytes: number): void {
    this.length += 1;
    this.bytes += bytes;
  }

  leave(bytes: number): void {
    this.length -= 1;
    this.bytes -= bytes;
  }

  hasPlaceFor(bytes: number): boolean {
    return this.length < MAX_WAITING && (this.bytes === 0 || this.bytes + bytes <= MAX_WAITING_BYTES);
  }

  /** An agent may fill a fifth of the room, so that one that runs wild leaves place for others. */
  hasPlaceForAgent(agent: AgentQueue, bytes: number): boolean {
    return agent.length < MAX_AGENT_WAITING && (agent.bytes === 0 || agent.bytes + bytes <= MAX_AGENT_BYTES);
  }
}
