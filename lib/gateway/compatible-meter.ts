import { type CompatibleSummary, CompatibleTap, readCompatibleSummary } from "../anthropic/compatible-answer.ts";
import { estimateTokens } from "../anthropic/usage.ts";
import { MAX_PLAIN_ANSWER, type Meter, NOTHING, type Reading, WholeMeter } from "./meter.ts";

/** A plain answer of `/v1/chat/completions` or `/v1/complete`. */
export class CompatibleMeter extends WholeMeter {
  constructor() {
    super(MAX_PLAIN_ANSWER);
  }

  read(whole: boolean): Reading {
    return whole ? toReading(readCompatibleSummary(this.take())) : NOTHING;
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
