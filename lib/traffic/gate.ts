import type { Limiter } from "../anthropic/pools.ts";
import type { ClassIndex } from "./classes.ts";
import { ALL, type Dimension, IN, limiterOf, OUT, REQ } from "./dimensions.ts";
import { addFlow, HORIZONS, noDrain } from "./horizons.ts";
import type { Ledger } from "./ledger.ts";
import { at } from "./numbers.ts";
import type { OpenStreams } from "./open-streams.ts";
import type { Reserves } from "./reserves.ts";

/** No bucket is asked for more than this share of what it holds, or a large call would wait for ever. */
const BRIM = 0.97;
/** Output is charged as it is made, so critical calls need room now and not in a minute. */
const CRITICAL_SIGHT_S = 2;
const BURST_FACTOR = 1.4;
const BURST_CEILING = 0.5;
const BURST_FLOOR = 0.02;
const FIRST_TOKEN_S = 0.8;

/** What a call will probably cost. `input` is what counts: the prompt less what the cache will serve. */
export type Demand = { class: ClassIndex; input: number; output: number; maxTokens: number; tokensPerS: number };

/** The state a call is judged by. `standing` is how long queues have stood, 0 to 1. */
export type GateView = { ledger: Ledger; streams: OpenStreams; reserves: Reserves; standing: number };

/** What there is no room in, and by how many requests or tokens. */
export type Obstacle = { by: "limiter" | "burst"; limiter: Limiter; shortBy: number };

const added = noDrain();

/**
 * Whether the ledger has room for a call, now and for as long as the streams that are open will drain it; else what it
 * has no room in. `gatedAs` is the class whose reserves apply: its own, unless a guarantee lets it go before its turn; `inputAs` the same for
 * input alone.
 */
export function findObstacle(view: GateView, demand: Demand, gatedAs: ClassIndex, inputAs = gatedAs): Obstacle | null {
  const { ledger, streams } = view;
  const idle = streams.size === 0;
  const share = (dimension: Dimension) => view.reserves.share(gatedAs, dimension, view.standing);

  if (ledger.isKnown(REQ)) {
    const capacity = ledger.capacity(REQ);
    const kept = share(REQ) * capacity;
    const needed = idle ? Math.min(1 + kept, Math.max(1, BRIM * capacity)) : 1 + kept;
    if (ledger.level(REQ) < needed) return short("limiter", REQ, needed - ledger.level(REQ));
  }
  for (const dimension of [IN, ALL] as const) {
    if (!ledger.isKnown(dimension)) continue;
    const capacity = ledger.capacity(dimension);
    const kept = view.reserves.share(inputAs, dimension, view.standing) * capacity;
    const needed = Math.min(demand.input + kept, BRIM * capacity);
    if (ledger.level(dimension) < needed) return short("limiter", dimension, needed - ledger.level(dimension));
  }
  if (ledger.accounting === "reserve") return reserveObstacle(ledger, demand, share(OUT));

  added.fill(0);
  const flow = { produced: 0, remaining: demand.output, tokensPerS: demand.tokensPerS, delayS: FIRST_TOKEN_S };
  addFlow(added, flow, ledger.accounting, 1);
  const sightS = demand.class === 0 ? CRITICAL_SIGHT_S : Number.POSITIVE_INFINITY;
  for (const dimension of [OUT, ALL] as const) {
    if (!ledger.isKnown(dimension) || (idle && ledger.level(dimension) >= BRIM * ledger.capacity(dimension))) continue;
    const taken = dimension === ALL ? demand.input : 0;
    const room = leastRoom(view, dimension, share(dimension), sightS, taken);
    if (room < 0) return short("limiter", dimension, -room);
  }
  if (gatedAs === 0 || !ledger.isKnown(OUT) || (idle && ledger.level(OUT) >= BRIM * ledger.capacity(OUT))) return null;
  const room = leastRoomInBurst(view);
  return room < 0 ? short("burst", OUT, -room) : null;
}

function short(by: Obstacle["by"], dimension: Dimension, shortBy: number): Obstacle {
  return { by, limiter: limiterOf(dimension), shortBy };
}

/** Where `max_tokens` is taken in advance, the level has no future: what is open is paid for. */
function reserveObstacle(ledger: Ledger, demand: Demand, share: number): Obstacle | null {
  if (!ledger.isKnown(OUT)) return null;
  const capacity = ledger.capacity(OUT);
  const needed = Math.min(demand.maxTokens + 0.3 * share * capacity, BRIM * capacity);
  return ledger.level(OUT) >= needed ? null : short("limiter", OUT, needed - ledger.level(OUT));
}

/** Follows the level over the horizons, as open streams and the call itself drain it: the least above the reserve. */
function leastRoom(
  view: GateView,
  dimension: typeof OUT | typeof ALL,
  share: number,
  sightS: number,
  taken: number,
): number {
  const { ledger, streams } = view;
  const capacity = ledger.capacity(dimension);
  const refill = ledger.netRate(dimension);
  let level = ledger.level(dimension) - taken;
  let least = level;
  let beforeS = 0;
  let drained = 0;
  for (let index = 0; index < HORIZONS.length; index += 1) {
    const horizonS = at(HORIZONS, index);
    if (horizonS > sightS) break;
    const drain = at(streams.drain, index) + at(added, index);
    level = Math.min(capacity, level + refill * (horizonS - beforeS) - (drain - drained));
    if (level < least) least = level;
    beforeS = horizonS;
    drained = drain;
  }
  return least - share * capacity;
}

/**
 * The same with critical's worst remembered burst beginning now. Streams that are open cannot be stopped, so a reserve
 * learnt for a bucket that refills at full rate is too small while they drain; this counts both.
 */
function leastRoomInBurst({ ledger, streams, reserves }: GateView): number {
  const capacity = ledger.capacity(OUT);
  const refill = ledger.netRate(OUT);
  const most = BURST_CEILING * capacity;
  let level = ledger.level(OUT);
  let least = Number.POSITIVE_INFINITY;
  let beforeS = 0;
  let drained = 0;
  for (let index = 0; index < HORIZONS.length; index += 1) {
    const horizonS = at(HORIZONS, index);
    const burst = Math.min(most, BURST_FACTOR * reserves.burst.within(horizonS, ledger.rate(OUT)));
    const drain = at(streams.drain, index) + at(added, index) + burst;
    level = Math.min(capacity, level + refill * (horizonS - beforeS) - (drain - drained));
    if (level < least) least = level;
    beforeS = horizonS;
    drained = drain;
  }
  return least - BURST_FLOOR * capacity;
}
