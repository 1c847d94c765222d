import type { Lane } from "../anthropic/pools.ts";
import { Mirror } from "./mirror.ts";
import type { KnownLimits } from "./untold-limits.ts";
import type { Candidate } from "./upstream-choice.ts";
import { type StopCause, UpstreamGate } from "./upstream-gate.ts";

export type Place = { upstream: string; pool: string; lane: Lane };

/** The limits of a place by what is known before it has answered: published, stored or configured. */
export type ExpectedLimits = (place: Place) => KnownLimits;

/** After an outage calls go out at half the limit at first. */
const RESTART_RATE = 0.5;
const RESTART_HOLD_S = 60;

/** The upstreams, their groups, and a mirror for each pool and lane that was met at one. */
export class Upstreams {
  /** Asked whenever a mirror is made, and so again where one was forgotten. */
  expected: ExpectedLimits = () => ({});
  readonly #learnsDrift: boolean;
  readonly #groups = new Map<string, readonly string[]>();
  readonly #mirrors = new Map<string, Mirror>();
  readonly #gates = new Map<string, UpstreamGate>();

  constructor(learnsDrift: boolean) {
    this.#learnsDrift = learnsDrift;
  }

  setGroup(group: string, upstreams: readonly string[]): void {
    this.#groups.set(group, [...upstreams]);
  }

  candidates(place: { group: string; pool: string; lane: Lane }, nowS: number): Candidate[] {
    const { group, pool, lane } = place;
    const upstreams = this.#groups.get(group) ?? [group];
    return upstreams.map((upstream) => ({
      mirror: this.mirror({ upstream, pool, lane }, nowS),
      gate: this.gate(upstream),
    }));
  }

  mirror(place: Place, nowS: number): Mirror {
    const key = `${place.upstream}/${place.pool}/${place.lane}`;
    let mirror = this.#mirrors.get(key);
    if (!mirror) {
      mirror = new Mirror(place, { learnsDrift: this.#learnsDrift, expected: this.expected(place) }, nowS);
      this.#mirrors.set(key, mirror);
    }
    return mirror;
  }

  gate(upstream: string): UpstreamGate {
    let gate = this.#gates.get(upstream);
    if (!gate) {
      gate = new UpstreamGate(upstream);
      this.#gates.set(upstream, gate);
    }
    return gate;
  }

  /** It answered. After an outage what has waited is let go slowly. */
  answered(upstream: string, ownCredential: boolean, nowS: number): void {
    if (this.gate(upstream).succeed(ownCredential)) this.#restart(upstream, nowS);
  }

  /** It answered that it takes no calls. */
  stopped(upstream: string, cause: StopCause, nowS: number): void {
    if (this.gate(upstream).stop(cause, nowS)) this.#restart(upstream, nowS);
  }

  #restart(upstream: string, nowS: number): void {
    for (const mirror of this.#mirrors.values()) {
      if (mirror.upstream === upstream) mirror.ramp.restart(RESTART_RATE, RESTART_HOLD_S, nowS);
    }
  }

  /** Forgets what nobody has used since and nothing leans on, and sooner what has never answered. */
  forget(beforeS: { proven: number; unproven: number }, isUsed: (mirror: Mirror) => boolean): void {
    const used = new Set([...this.#groups.values()].flat());
    for (const [key, mirror] of this.#mirrors) {
      const since = mirror.hasAnswered ? beforeS.proven : beforeS.unproven;
      if (mirror.usedS < since && mirror.streams.size === 0 && !isUsed(mirror)) this.#mirrors.delete(key);
      else used.add(mirror.upstream);
    }
    for (const upstream of this.#gates.keys()) if (!used.has(upstream)) this.#gates.delete(upstream);
  }

  mirrors(): IterableIterator<Mirror> {
    return this.#mirrors.values();
  }

  gates(): IterableIterator<UpstreamGate> {
    return this.#gates.values();
  }
}
