import { type CompatibleSummary, CompatibleTap, readCompatibleSummary } from "../anthropic/compatible-answer.ts";
import { estimateTokens } from "../anthropic/usage.ts";
import { Collected, type Meter, NOTHING, type Reading } from "./meter.ts";

/** A plain answer of `/v1/chat/completions` or `/v1/complete`. */
export class CompatibleMeter implements Meter {
  readonly #body = new Collected(32 * 1024 * 1024);

  push(chunk: Buffer): void {
    this.#body.push(chunk);
  }

  isComplete(): boolean {
    return false;
  }

  lacksEnd(): boolean {
    return false;
  }

  takeNews(): null {
    return null;
  }

  read(whole: boolean): Reading {
    return whole ? toReading(readCompatibleSummary(this.#body.take())) : NOTHING;
  }
}

/** A stream of either. Its usage, if any, comes with its end: there is no news before. */
export class CompatibleStreamMeter implements Meter {
  readonly #tap = new CompatibleTap();

  push(chunk: Buffer): void {
    this.#tap.push(chunk);
  }

  isComplete(): boolean {
    return this.#tap.complete;
  }

  lacksEnd(): boolean {
    return !this.#tap.complete;
  }

  takeNews(): null {
    return null;
  }

  read(): Reading {
    return toReading(this.#tap.summary);
  }
}

function toReading({ producedBytes, ...summary }: CompatibleSummary): Reading {
  return { ...summary, producedTokens: summary.usage === null ? estimateTokens(producedBytes) : 0 };
}
