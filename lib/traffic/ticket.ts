import type { Lane } from "../anthropic/pools.ts";
import { type ClassIndex, classIndex } from "./classes.ts";
import type { CallShape } from "./estimator.ts";
import type { AgentQueue } from "./fair-queue.ts";
import type { HeapEntry } from "./indexed-heap.ts";
import type { Mirror, Sending } from "./mirror.ts";
import type { PoolTraffic } from "./pool-traffic.ts";
import type { HeldBy, TrafficClass, UpstreamReason } from "./schema.ts";

/** How long a call of each class waits that does not say. */
const DEADLINES_S: readonly [number, number, number, number] = [60, 120, 240, 480];
/** SDKs give up after 600 s: a minute is left for the answer. */
export const LONGEST_WAIT_S = 540;

/** What the gateway knows of a call when it arrives. */
export type TrafficCall = {
  /** The upstreams that may serve it: a group that was set, or the name of the one. */
  group: string;
  /** Set where it goes out with its caller's credential: that this one is refused says nothing about any other. */
  ownCredential?: boolean;
  pool: string;
  lane: Lane;
  class: TrafficClass;
  agent: string;
  model: string;
  /** Length of the body, which waits with the call. */
  bytes: number;
  maxTokens: number;
  /** Whether the answer will be streamed, so that output is seen as it is made. */
  streams: boolean;
  /** Seconds it may wait; the class's default when null. Never more than 540. */
  deadlineS: number | null;
  /** An agent's share against others of its class; 1 by default. */
  weight?: number;
  /** What keeps a prompt cache warm together, such as a session; the agent by default. */
  affinity?: string;
  /** For producers that drop what is refused: refuse at once what will probably not be served in time. */
  failFast?: boolean;
};

/** A call from its arrival to its end. It is out while `sentBy` is set, else it waits. */
export type Ticket = {
  /** From when it is let in; 0 before that. */
  id: number;
  readonly call: TrafficCall;
  readonly class: ClassIndex;
  readonly pool: PoolTraffic;
  readonly shape: CallShape;
  readonly agentQueue: AgentQueue;
  readonly arrivedS: number;
  readonly deadlineS: number;
  readonly position: number;
  readonly ownCredential: boolean;
  /** What keeps a prompt cache warm together, in its pool. */
  readonly affinity: string;
  /** What it will probably count: input less what the cache will serve, and output. */
  input: number;
  output: number;
  /** What a refusal has shown its prompt to count at least. */
  leastInput: number;
  estimatedS: number;
  hasTaughtInput: boolean;
  /** Before this it is not sent, for each upstream that said so. */
  notBefore: Map<string, number> | null;
  /** The earliest of those once every upstream has said so, else 0. */
  readyS: number;
  attempts: number;
  /** Sendings that met a fault of the upstream. */
  failures: number;
  heldBy: HeldBy | null;
  wouldWaitS: number | null;
  sentBy: {
    upstream: string;
    reason: UpstreamReason;
    sentS: number;
    out: { mirror: Mirror; sending: Sending } | null;
  } | null;
  /** Minutes of limit charged to its agent and its class. */
  charged: number;
  deadlineEntry: HeapEntry<Ticket> | null;
  previous: Ticket | null;
  next: Ticket | null;
};

/** A ticket for a call that arrives now. */
export function issueTicket(of: Pick<Ticket, "call" | "pool" | "shape">, nowS: number): Ticket {
  const { call, pool, shape } = of;
  const { input, output } = pool.estimate(of);
  const index = classIndex(call.class);
  const waitS = Math.min(call.deadlineS ?? DEADLINES_S[index], LONGEST_WAIT_S);
  // Written out: one is made for every call, and spreading costs more than all the rest of it.
  return {
    id: 0,
    call,
    class: index,
    pool,
    shape,
    agentQueue: pool.queue.agentQueue(call.agent, index, call.weight ?? 1),
    arrivedS: nowS,
    deadlineS: nowS + waitS,
    position: pool.position(index),
    ownCredential: call.ownCredential ?? false,
    affinity: `${pool.key}\n${call.affinity ?? call.agent}`,
    input,
    output,
    estimatedS: nowS,
    hasTaughtInput: false,
    notBefore: null,
    readyS: 0,
    attempts: 0,
    failures: 0,
    heldBy: null,
    wouldWaitS: null,
    sentBy: null,
    charged: 0,
    leastInput: 0,
    deadlineEntry: null,
    previous: null,
    next: null,
  };
}
