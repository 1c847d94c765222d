import { getPool, type Lane, POOLS } from "../anthropic/pools.ts";
import { Affinities } from "./affinities.ts";
import type { Modes } from "./modes.ts";
import { PoolTraffic } from "./pool-traffic.ts";
import type { Upstreams } from "./upstreams.ts";
import type { WaitingRoom } from "./waiting-room.ts";

const FORGET_AFTER_S = 3_600;
/** A model that nobody knows and that no upstream has ever answered for is one that somebody made up. */
const FORGET_UNPROVEN_AFTER_S = 60;
const MAX_UNPROVEN = 256;
/** The pool of all made-up models beyond those. */
const OTHER = "other";

/** The pools that calls were met for, as many as are in use: callers name them, and may make names up. */
export class TrafficPools {
  readonly #upstreams: Upstreams;
  readonly #modes: Modes;
  readonly #room: WaitingRoom;
  readonly #affinities = new Affinities();
  readonly #pools = new Map<string, PoolTraffic>();
  /** Those of models that are in no table, until an upstream answers for one. */
  readonly #unproven = new Set<PoolTraffic>();

  constructor(of: { upstreams: Upstreams; modes: Modes; room: WaitingRoom }) {
    this.#upstreams = of.upstreams;
    this.#modes = of.modes;
    this.#room = of.room;
  }

  all(): IterableIterator<PoolTraffic> {
    return this.#pools.values();
  }

  /** The pool of a call that has arrived. */
  use({ group, pool: id, lane }: { group: string; pool: string; lane: Lane }, nowS: number): PoolTraffic {
    const pool = this.#pools.get(`${group}/${id}/${lane}`) ?? this.#meet(group, id, lane, nowS);
    pool.usedS = nowS;
    return pool;
  }

  /** An upstream has answered for the pool: there is such a model. */
  prove(pool: PoolTraffic): void {
    this.#unproven.delete(pool);
  }

  /** Forgets what is used no longer; tells which. */
  forget(nowS: number): PoolTraffic[] {
    const forgotten: PoolTraffic[] = [];
    for (const [key, pool] of this.#pools) {
      const afterS = this.#unproven.has(pool) ? FORGET_UNPROVEN_AFTER_S : FORGET_AFTER_S;
      if (nowS - pool.usedS <= afterS || pool.queue.length > 0 || pool.queue.out > 0) continue;
      this.#pools.delete(key);
      this.#unproven.delete(pool);
      forgotten.push(pool);
    }
    const used = new Set([...this.#pools.values()].flatMap((pool) => pool.candidates.map(({ mirror }) => mirror)));
    const beforeS = { proven: nowS - FORGET_AFTER_S, unproven: nowS - FORGET_UNPROVEN_AFTER_S };
    this.#upstreams.forget(beforeS, (mirror) => used.has(mirror));
    return forgotten;
  }

  #meet(group: string, id: string, lane: Lane, nowS: number): PoolTraffic {
    const known = getPool(id);
    const isKnown = POOLS.includes(known);
    if (!isKnown && id !== OTHER && this.#unproven.size >= MAX_UNPROVEN) {
      return this.use({ group, pool: OTHER, lane }, nowS);
    }
    const pool = new PoolTraffic(
      { group, pool: id, lane, cacheReadsCount: known.cacheReadsCount },
      {
        mode: this.#modes.of(id),
        candidates: this.#upstreams.candidates({ group, pool: id, lane }, nowS),
        room: this.#room,
        affinities: this.#affinities,
      },
      nowS,
    );
    this.#pools.set(`${group}/${id}/${lane}`, pool);
    if (!isKnown) this.#unproven.add(pool);
    return pool;
  }
}
