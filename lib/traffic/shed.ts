import type { ShedReason, TrafficClass } from "./schema.ts";

/**
 * Headroom's own refusal, as a value. 429 for what is a matter of limits, 529 for what is not. `shouldRetry` goes out as
 * `x-should-retry`: SDKs obey it before anything else.
 */
export type Shed = {
  admitted: false;
  reason: ShedReason;
  status: 429 | 529;
  retryAfterMs: number;
  shouldRetry: boolean;
  message: string;
};

const SHORTEST_S = 1;
const LONGEST_S = 120;

/** `expectedWaitS` is what the call would probably have waited; `unit`, a random number from 0 to 1, spreads retries. */
export function shedFor(
  reason: ShedReason,
  call: { class: TrafficClass; agent: string },
  expectedWaitS: number,
  unit: number,
): Shed {
  const waitS = Math.min(LONGEST_S, Math.max(SHORTEST_S, Math.ceil(expectedWaitS)));
  const isLimit = reason !== "upstream_down" && reason !== "draining" && reason !== "upstream_stopped";
  return {
    admitted: false,
    reason,
    status: isLimit ? 429 : 529,
    retryAfterMs: Math.round(waitS * 1_000 * (0.9 + 0.2 * unit)),
    shouldRetry: reason !== "upstream_stopped",
    message: `${SAYS[reason]}; expected wait ${waitS} s (class ${call.class}, agent ${call.agent}).`,
  };
}

const SAYS: Record<ShedReason, string> = {
  queue_full: "Headroom's queue is full",
  agent_queue_full: "This agent has as many calls waiting as it may",
  predicted_wait: "This call would not be served within its deadline",
  deadline: "This call was not served within its deadline",
  upstream_stopped: "The upstream refuses all calls until its spend limit, billing or credential is seen to",
  upstream_down: "The upstream gives no answer",
  draining: "Headroom is shutting down",
};
