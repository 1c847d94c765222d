import { CircuitBreaker } from "./breaker.ts";
import type { UpstreamHealth } from "./schema.ts";

const STOP_PROBE_S = 60;

/** A cause that waiting does not cure: somebody has to raise a limit, pay, or replace a key. */
export type StopCause = "spend_cap" | "billing" | "authentication";

/** Whether an upstream takes calls at all. */
export class UpstreamGate {
  readonly upstream: string;
  readonly #breaker = new CircuitBreaker();
  #stopped: { cause: StopCause; probeAtS: number } | null = null;

  constructor(upstream: string) {
    this.upstream = upstream;
  }

  /** A credential that is not valid stops those that use it; a caller with one of its own is none of them. */
  isStopped(ownCredential: boolean): boolean {
    return this.#stopped !== null && !(ownCredential && this.#stopped.cause === "authentication");
  }

  get isDown(): boolean {
    return this.#breaker.state !== "closed";
  }

  /** Whether there is no reason at all to prefer another. */
  get isWell(): boolean {
    return this.#stopped === null && this.#breaker.isClean;
  }

  /** A stopped upstream gets one call a minute, one that is down one at a time. */
  allows(nowS: number, ownCredential: boolean): boolean {
    if (this.#stopped && this.isStopped(ownCredential) && nowS < this.#stopped.probeAtS) return false;
    return this.#breaker.allows(nowS);
  }

  /** When it may be tried next; null when at any time. */
  get probeAtS(): number | null {
    const breaker = this.#breaker.probeAtS;
    const stopped = this.#stopped?.probeAtS ?? null;
    return breaker === null ? stopped : Math.max(breaker, stopped ?? 0);
  }

  send({ id, ownCredential }: { id: number; ownCredential: boolean }, nowS: number): void {
    if (this.#stopped && this.isStopped(ownCredential)) this.#stopped.probeAtS = nowS + STOP_PROBE_S;
    this.#breaker.send(id, nowS);
  }

  /** It answered. True when it had been down until now. */
  succeed(ownCredential: boolean): boolean {
    if (this.isStopped(ownCredential)) this.#stopped = null;
    return this.#breaker.succeed();
  }

  fail(id: number, nowS: number, unit: number, weight: number): void {
    this.#breaker.fail(id, nowS, unit, weight);
  }

  /** It answered, and takes no calls. True when it had been down until now. */
  stop(cause: StopCause, nowS: number): boolean {
    this.#stopped = { cause, probeAtS: nowS + STOP_PROBE_S };
    return this.#breaker.succeed();
  }

  /** A call ended without an answer that was the upstream's. */
  abandon(id: number, nowS: number): void {
    this.#breaker.abandon(id, nowS);
  }

  state(nowS: number): UpstreamHealth {
    const { probeAtS } = this;
    return {
      upstream: this.upstream,
      breaker: this.#breaker.state,
      probeInS: probeAtS === null ? null : Math.max(0, probeAtS - nowS),
      stopped: this.#stopped?.cause ?? null,
    };
  }
}
