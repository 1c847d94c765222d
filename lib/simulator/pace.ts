import type { Production } from "./pool-meter.ts";

/** An answer being made at a steady speed from its first token on, in whole tokens. */
export class Pace implements Production {
  readonly #startMs: number;
  readonly #tokensPerMs: number;
  #total: number;

  /** `tokensPerSecond` may be Infinity: then all is there at once. */
  constructor(total: number, tokensPerSecond: number, startMs: number) {
    this.#total = total;
    this.#tokensPerMs = tokensPerSecond / 1_000;
    this.#startMs = startMs;
  }

  producedAt(nowMs: number): number {
    if (nowMs < this.#startMs) return 0;
    if (this.#tokensPerMs === Number.POSITIVE_INFINITY) return this.#total;
    return Math.min(this.#total, Math.floor((nowMs - this.#startMs) * this.#tokensPerMs));
  }

  /** When the last token is there. */
  get endMs(): number {
    return this.timeOf(this.#total);
  }

  /** When so many tokens are there. */
  timeOf(tokens: number): number {
    return this.#startMs + Math.ceil(tokens / this.#tokensPerMs);
  }

  /** Nobody listens any more: what is made until now is all there will be. */
  stop(nowMs: number): void {
    this.#total = this.producedAt(nowMs);
  }
}
