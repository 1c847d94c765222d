import { Gauge, type Registry } from "prom-client";
import type { TrafficSnapshot } from "../traffic/schema.ts";
import type { Overview } from "./schema.ts";

const PLACE = ["upstream", "pool", "lane"] as const;
const LIMITER = [...PLACE, "limiter"] as const;
const BREAKERS = ["closed", "probing", "open"] as const;

/** What `/metrics` tells of traffic control: what waits, its mirror of every pool, and how upstreams are. */
export class TrafficMetrics {
  readonly #registry: Registry;
  readonly #gauges: Gauge[] = [];
  readonly #waiting: Gauge;
  readonly #oldest: Gauge;
  readonly #shed: Gauge;
  readonly #mode: Gauge;
  readonly #level: Gauge;
  readonly #capacity: Gauge;
  readonly #reserve: Gauge;
  readonly #streams: Gauge;
  readonly #ramp: Gauge;
  readonly #paused: Gauge;
  readonly #breaker: Gauge;
  readonly #stopped: Gauge;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#waiting = this.#gauge("waiting_calls", "Calls that wait for room, by class.", ["class"]);
    this.#oldest = this.#gauge("oldest_wait_seconds", "How long the oldest of them has waited.", ["class"]);
    this.#shed = this.#gauge("shed_calls", "Calls that traffic control refused since the start.", ["reason"]);
    this.#mode = this.#gauge("traffic_mode", "1 for the mode of a pool; * is all that are not named.", [
      "pool",
      "mode",
    ]);
    this.#level = this.#gauge("ledger_level", "What is left in a bucket, as traffic control sees it.", LIMITER);
    this.#capacity = this.#gauge("ledger_capacity", "What a full bucket holds.", LIMITER);
    const reserve = "Share of the capacity that a class leaves to those above it.";
    this.#reserve = this.#gauge("ledger_reserve", reserve, [...LIMITER, "class"]);
    this.#streams = this.#gauge("open_streams", "Calls that are out and not ended.", PLACE);
    this.#ramp = this.#gauge(
      "ramp_rate",
      "Seconds of limit a second that the ramp lets through, while it is on.",
      PLACE,
    );
    this.#paused = this.#gauge("paused_seconds", "For how long nothing is sent, as the upstream asked.", PLACE);
    const breaker = "1 for the state of an upstream's circuit breaker.";
    this.#breaker = this.#gauge("breaker", breaker, ["upstream", "state"]);
    const stopped = "1 while an upstream refuses for a cause that waiting does not cure.";
    this.#stopped = this.#gauge("upstream_stopped", stopped, ["upstream", "cause"]);
  }

  /** Takes what is so at this moment; pools and upstreams that are no more are told of no more. */
  set(snapshot: TrafficSnapshot, queue: Overview["queue"]): void {
    for (const gauge of this.#gauges) gauge.reset();
    for (const { class: name, waiting, oldestWaitS } of queue) {
      this.#waiting.set({ class: name }, waiting);
      this.#oldest.set({ class: name }, oldestWaitS);
    }
    for (const [reason, calls] of Object.entries(snapshot.counts.shed)) this.#shed.set({ reason }, calls);
    const modes = { "*": snapshot.mode, ...snapshot.poolModes };
    for (const [pool, mode] of Object.entries(modes)) this.#mode.set({ pool, mode }, 1);
    for (const ledger of snapshot.ledgers) this.#setLedger(ledger);
    for (const { upstream, breaker, stopped } of snapshot.upstreams) {
      for (const state of BREAKERS) this.#breaker.set({ upstream, state }, state === breaker ? 1 : 0);
      if (stopped !== null) this.#stopped.set({ upstream, cause: stopped }, 1);
    }
  }

  #setLedger({ upstream, pool, lane, ...ledger }: TrafficSnapshot["ledgers"][number]): void {
    const place = { upstream, pool, lane };
    this.#streams.set(place, ledger.openStreams);
    this.#paused.set(place, ledger.pausedForS);
    if (ledger.rampRate !== null) this.#ramp.set(place, ledger.rampRate);
    for (const { limiter, level, capacity, reserves } of ledger.levels) {
      this.#level.set({ ...place, limiter }, level);
      this.#capacity.set({ ...place, limiter }, capacity);
      for (const [name, share] of Object.entries(reserves)) {
        this.#reserve.set({ ...place, limiter, class: name }, share);
      }
    }
  }

  #gauge(name: string, help: string, labelNames: readonly string[]): Gauge {
    const registers = [this.#registry];
    const gauge = new Gauge({ name: `headroom_${name}`, help, labelNames: [...labelNames], registers });
    this.#gauges.push(gauge);
    return gauge;
  }
}
