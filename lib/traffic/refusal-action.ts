import type { RefusalCause } from "../anthropic/error-detail.ts";
import type { LimitReadings } from "./dimensions.ts";
import type { StopCause } from "./upstream-gate.ts";

/** How an upstream refused, before the first byte of an answer. `status` is null when there was no answer at all. */
export type UpstreamRefusal = {
  status: number | null;
  cause: RefusalCause | null;
  /** From `retry-after-ms` or `retry-after`. */
  retryAfterS: number | null;
  limits: LimitReadings;
};

/** What is to be done about it. Waits are in seconds from now. */
export type RefusalAction =
  /** Only this call waits. Its prompt counts `leastInput` at least, as far as the refusal shows. */
  | { kind: "bucket"; waitS: number; leastInput: number }
  | { kind: "acceleration"; waitS: number; pauseS: number }
  | { kind: "overload"; waitS: number }
  | { kind: "fault"; waitS: number }
  /** A fault that is not tried again: the work may have been done, and would be paid twice. */
  | { kind: "timeout" }
  | { kind: "stop"; cause: StopCause }
  /** The caller's own affair, or nothing that another try would cure. */
  | { kind: "pass" };

/** A bucket is full again in a minute: who is told to wait much longer met no bucket. */
const LONGEST_BUCKET_WAIT_S = 120;
const MAX_PAUSE_S = 10;
/** Seconds of the input limit from which on a prompt alone may be more growth than the upstream takes. */
const LARGE_S = 3;
const LONGEST_LARGE_WAIT_S = 60;
const MAX_BACKOFF_S = 8;
/** By how much a prompt may be longer than was guessed from its body. */
const GUESS_MARGIN = 1.5;
/** Token remainders are rounded to thousands: so much more may be shown than there is. */
const ROUNDED_UP = 500;

/**
 * Each cause wants its own reaction. `inputTokens` is the whole prompt, for what was refused may have missed the cache;
 * `reservedOutput` is what the upstream takes in advance, 1 where it does not. `failures` counts earlier faults of this
 * call, `attempts` its sendings, `unit` is a random number from 0 to 1.
 */
export function chooseAction(
  refusal: UpstreamRefusal,
  call: { inputTokens: number; reservedOutput: number; failures: number; attempts: number },
  unit: number,
): RefusalAction {
  const { status, cause, retryAfterS } = refusal;
  if (cause === "contract_spend_cap" || cause === "own_spend_cap") return { kind: "stop", cause: "spend_cap" };
  if (cause === "spend_cap" || cause === "billing" || cause === "authentication") return { kind: "stop", cause };
  if (cause === "acceleration") return accelerate(retryAfterS ?? 5, refusal.limits, call, unit);
  if (status === 429) {
    const hasHeaders = Object.keys(refusal.limits).length > 0;
    if (retryAfterS === null)
      return hasHeaders ? { kind: "stop", cause: "spend_cap" } : { kind: "bucket", waitS: 1 + unit, leastInput: 0 };
    if (retryAfterS > LONGEST_BUCKET_WAIT_S) return { kind: "pass" };
    const waitS = retryAfterS * (1 + 0.1 * unit);
    const isShort = hasHeaders ? lacksInput(refusal.limits, call) || lacksOther(refusal.limits, call) : true;
    if (!isShort) return accelerate(retryAfterS, refusal.limits, call, unit);
    return { kind: "bucket", waitS, leastInput: shownInput(refusal.limits, retryAfterS, call) };
  }
  const backoffS = Math.min(MAX_BACKOFF_S, 0.5 * 2 ** Math.min(4, call.failures)) * (1 - 0.25 * unit);
  if (status === 529 || cause === "overloaded") return { kind: "overload", waitS: backoffS };
  if (cause === "timeout") return { kind: "timeout" };
  if (status === null || status >= 500) return { kind: "fault", waitS: backoffS };
  return { kind: "pass" };
}

/** Whether a limit of the upstream's refused, which is Headroom's to wait for and never the caller's. */
export function isLimit({ kind }: RefusalAction): boolean {
  return kind === "bucket" || kind === "acceleration";
}

/**
 * A large prompt that is refused again is too much growth by itself, however slowly the others go: only it waits, longer each
 * time, or it would silence the pool every few seconds until its deadline.
 */
function accelerate(
  retryAfterS: number,
  limits: LimitReadings,
  call: { inputTokens: number; attempts: number },
  unit: number,
): RefusalAction {
  if (retryAfterS > LONGEST_BUCKET_WAIT_S) return { kind: "pass" };
  const spread = 1 + 0.1 * unit;
  const perS = (limits.input_tokens?.limit ?? Number.POSITIVE_INFINITY) / 60;
  if (call.attempts > 1 && call.inputTokens > LARGE_S * perS) {
    const waitS = Math.min(LONGEST_LARGE_WAIT_S, retryAfterS * 2 ** Math.min(3, call.attempts - 1));
    return { kind: "bucket", waitS: waitS * spread, leastInput: 0 };
  }
  return { kind: "acceleration", waitS: retryAfterS * spread, pauseS: Math.min(retryAfterS, MAX_PAUSE_S) };
}

/**
 * Whether the input bucket may have been too low for the call. With room everywhere it was the growth that was refused. A
 * bucket taken for growth slows the whole pool for minutes, growth taken for a bucket costs one more refusal: in doubt it
 * was a bucket.
 */
function lacksInput({ input_tokens }: LimitReadings, call: { inputTokens: number }): boolean {
  return input_tokens !== undefined && input_tokens.remaining < mostInput(call);
}

/** The same of the other buckets. */
function lacksOther(limits: LimitReadings, call: { inputTokens: number; reservedOutput: number }): boolean {
  const { requests, output_tokens, tokens } = limits;
  const output = call.reservedOutput > 1 ? call.reservedOutput + ROUNDED_UP : 1;
  return (
    (requests !== undefined && requests.remaining < 1) ||
    (output_tokens !== undefined && output_tokens.remaining < output) ||
    (tokens !== undefined && tokens.remaining < mostInput(call) + output)
  );
}

function mostInput({ inputTokens }: { inputTokens: number }): number {
  return GUESS_MARGIN * inputTokens + ROUNDED_UP;
}

/**
 * Where nothing but input can have lacked, the prompt counts more than was left and more than flows in before it may be
 * tried again: its cache was missed, or its guess too low. Tried at that level again, it would be refused again.
 */
function shownInput(
  limits: LimitReadings,
  retryAfterS: number,
  call: { inputTokens: number; reservedOutput: number },
): number {
  const { input_tokens } = limits;
  if (!input_tokens || lacksOther(limits, call)) return 0;
  const shown = input_tokens.remaining + (input_tokens.limit / 60) * Math.max(0, retryAfterS - 1);
  return Math.min(shown, mostInput(call));
}
