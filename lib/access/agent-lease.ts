import type { NanoUsd } from "../kit/money.ts";
import type { AgentAccount, Period } from "./agent-account.ts";
import type { WindowEntry } from "./sliding-window.ts";

/** What a call used in the end, null where nobody knows: that counts at its most. Input as the upstream counts it. */
export type ActualUse = {
  inputTokens: number | null;
  outputTokens: number | null;
  costNanoUsd: NanoUsd | null;
  nowMs: number;
};

/** Room held for one call. Ends once, by either way; the second is ignored. */
export type Lease = {
  /** The call is over: what it used takes the place of what was held. */
  settle(actual: ActualUse): void;
  /** The call was not sent: all is given back. */
  release(): void;
};

/** What is held for a call. Cost is null where it cannot be told. */
export type Held = { input: number; output: number; cost: NanoUsd | null };

export class HeldLease implements Lease {
  readonly #account: AgentAccount;
  readonly #day: Period;
  readonly #month: Period;
  readonly #heldOutput: number;
  readonly #reserved: NanoUsd;
  readonly #request: WindowEntry;
  readonly #input: WindowEntry;
  #isOpen = true;

  constructor(account: AgentAccount, day: Period, month: Period, held: Held, nowMs: number) {
    this.#account = account;
    this.#day = day;
    this.#month = month;
    this.#heldOutput = held.output;
    this.#reserved = held.cost ?? 0;
    this.#request = account.requests.add(1, nowMs);
    this.#input = account.input.add(held.input, nowMs);
    account.heldOutput += this.#heldOutput;
    account.openCalls += 1;
    day.reserved += this.#reserved;
    month.reserved += this.#reserved;
  }

  settle({ inputTokens, outputTokens, costNanoUsd, nowMs }: ActualUse): void {
    if (!this.#end()) return;
    if (inputTokens !== null) this.#account.input.correct(this.#input, inputTokens);
    const output = outputTokens ?? this.#heldOutput;
    if (output > 0) this.#account.output.add(output, nowMs);
    for (const period of [this.#day, this.#month]) {
      if (costNanoUsd === null) period.unknown += this.#reserved;
      else period.spent += costNanoUsd;
    }
  }

  release(): void {
    if (!this.#end()) return;
    this.#account.requests.correct(this.#request, 0);
    this.#account.input.correct(this.#input, 0);
  }

  #end(): boolean {
    if (!this.#isOpen) return false;
    this.#isOpen = false;
    this.#account.heldOutput -= this.#heldOutput;
    this.#account.openCalls -= 1;
    this.#day.reserved -= this.#reserved;
    this.#month.reserved -= this.#reserved;
    return true;
  }
}
