import type { Lane } from "../../lib/anthropic/pools.ts";
import type { LimitReadings } from "../../lib/traffic/dimensions.ts";
import type { TrafficController } from "../../lib/traffic/traffic-controller.ts";

type Place = { group: string; upstream: string; pool: string; lane: Lane };
type Limits = { requests?: number; input_tokens?: number; output_tokens?: number };

/** The group's upstream tells that its buckets are full, by the headers with which it refuses a call that is not valid. */
export function teach(controller: TrafficController, place: Place, limits: Limits, nowS = 0): void {
  const { group, upstream, pool, lane } = place;
  controller.setGroup(group, [upstream], nowS);
  const arrival = controller.arrive(
    {
      ...{ group, pool, lane, class: "critical", agent: "teacher", model: "model" },
      ...{ bytes: 4, maxTokens: 1, streams: true, deadlineS: null },
    },
    nowS,
  );
  if (arrival.admitted === false) throw new Error(arrival.reason);
  controller.pump(nowS);
  controller.refused(arrival.id, { status: 400, cause: "invalid", retryAfterS: null, limits: full(limits) }, nowS);
}

function full(limits: Limits): LimitReadings {
  const reading = (limit: number) => ({ limit, remaining: limit, resetInS: 0 });
  return Object.fromEntries(Object.entries(limits).map(([limiter, limit]) => [limiter, reading(limit)]));
}
