import { formatAge } from "#components/ui/format.ts";
import type { Limiter } from "#lib/anthropic/pools.ts";
import type { LimiterState, LimitSource } from "#lib/limits/schema.ts";

type Words = {
  /** Head of a column. */
  title: string;
  /** The field's short term. */
  short: string;
  /** In a sentence: "Opus 5.5 input tokens at 87 %". */
  phrase: string;
  /** Title of a chart. */
  perMinute: string;
};

export const LIMITER_WORDS: Record<Limiter, Words> = {
  requests: { title: "Requests", short: "RPM", phrase: "requests", perMinute: "Requests per minute" },
  input_tokens: {
    title: "Input tokens",
    short: "ITPM",
    phrase: "input tokens",
    perMinute: "Counted input tokens per minute",
  },
  output_tokens: {
    title: "Output tokens",
    short: "OTPM",
    phrase: "output tokens",
    perMinute: "Output tokens per minute",
  },
  tokens: { title: "All tokens", short: "TPM", phrase: "tokens", perMinute: "Counted tokens per minute" },
};

const SOURCES: Record<LimitSource, string> = {
  header: "headers",
  rate_limits_api: "rate limits API",
  operator: "entered by an operator",
  published: "published table",
};

/** "headers, 0.4 s ago"; "published table". */
export function describeSource(limiter: Pick<LimiterState, "source" | "observedAt">, atMs: number): string {
  const name = SOURCES[limiter.source];
  if (limiter.source === "published" || limiter.observedAt === null) return name;
  return `${name}, ${formatAge(limiter.observedAt, atMs)}`;
}

/** A limit from the table is a guess about this organisation until an answer's headers confirm it. */
export function isConfirmed(limiter: Pick<LimiterState, "source">): boolean {
  return limiter.source !== "published";
}
