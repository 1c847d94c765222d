/** What a prompt counted. Null where it is not known, or not yet. */
export type InputUse = {
  /** Input and cache-creation tokens. */
  uncachedInputTokens: number | null;
  /** The same and cache reads. */
  totalInputTokens: number | null;
};

/** What a whole call used. */
export type ActualUse = InputUse & { outputTokens: number | null };

/** Of a call that ended without a word. */
export const UNKNOWN_USE: ActualUse = { uncachedInputTokens: null, totalInputTokens: null, outputTokens: null };
