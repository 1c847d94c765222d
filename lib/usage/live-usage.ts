import type { Lane } from "../anthropic/pools.ts";
import type { CallRecord, TokenCounts } from "./schema.ts";
export type PromptTokens = Pick<TokenCounts, "inputTokens" | "cacheWriteTokens" | "cacheReadTokens">;
/** What the gateway tells of one call while it runs. */
export type OpenCall = {
  /** The prompt's tokens are known: from `message_start`, or with a plain answer. The last word wins. */
  prompt(tokens: PromptTokens): void;
  /** Bytes of a streamed answer passed by: the measure of output that is not counted yet. */
  progress(bytes: number): void;
  /** The call has ended; the record holds the exact counts. */
  close(call: CallRecord): void;
};
export type CallPlace = { agent: string; upstream: string; pool: string; lane: Lane };
