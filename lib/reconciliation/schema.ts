import { z } from "zod";

const DAY_MS = 86_400_000;
/** A quarter of a year. */
const MAX_DAYS = 92;

/** What both sides know of a model's day. Differences may be negative. */
export const DaySums = z.object({
  inputTokens: z.int(),
  cacheWrite5mTokens: z.int(),
  cacheWrite1hTokens: z.int(),
  cacheReadTokens: z.int(),
  outputTokens: z.int(),
  webSearchRequests: z.int(),
  costNanoUsd: z.int(),
});
export type DaySums = z.infer<typeof DaySums>;

/** Models by their names without dates. Null is what is charged beside all models: searches, code execution. */
const Model = z.string().nullable();

/** A UTC day as Anthropic's reports had it. */
export const ReportedDay = z.object({
  day: z.string(),
  readAt: z.string(),
  models: z.array(DaySums.extend({ model: Model })),
});
export type ReportedDay = z.infer<typeof ReportedDay>;

/** What `/api/usage/reconciliation` takes: whole UTC days, widened to both sides. `upstream` narrows Headroom's side. */
export const ReconciliationQuery = z
  .object({
    from: z.iso.datetime({ offset: true }),
    to: z.iso.datetime({ offset: true }),
    upstream: z.string().optional(),
  })
  .refine(({ from, to }) => Date.parse(from) < Date.parse(to), '"from" must lie before "to"')
  .refine(({ from, to }) => Date.parse(to) - Date.parse(from) <= MAX_DAYS * DAY_MS, `ask for ${MAX_DAYS} days at most`);
export type ReconciliationQuery = z.infer<typeof ReconciliationQuery>;

/**
 * Why a side is missing. Of a day: no_admin_key; not_complete, it is not over or its reports may still lag; not_read.
 * Of a model: outside_headroom, Headroom saw no call of it; not_reported, Anthropic's reports have nothing of it.
 */
export const MissingReason = z.enum(["no_admin_key", "not_complete", "not_read", "outside_headroom", "not_reported"]);
export type MissingReason = z.infer<typeof MissingReason>;

/** `difference` is Anthropic's less Headroom's; a side that is missing from a day that was read counts as nothing. */
const Compared = z.object({
  anthropic: DaySums.nullable(),
  /** Calls without a known price are not in its cost. */
  headroom: DaySums.extend({ unpricedCalls: z.int() }).nullable(),
  difference: DaySums.nullable(),
});

export const ReconciledDay = z.object({
  day: z.string(),
  /** When Anthropic's reports of the day were read last. */
  readAt: z.string().nullable(),
  reason: MissingReason.nullable(),
  models: z.array(Compared.extend({ model: Model, reason: MissingReason.nullable() })),
  total: Compared,
});
export type ReconciledDay = z.infer<typeof ReconciledDay>;

export const ReconciliationAnswer = z.object({
  reading: z.object({
    hasAdminKey: z.boolean(),
    /** Why the last try of this process went wrong; null when it went well, or there was none. */
    fault: z.string().nullable(),
    triedAt: z.string().nullable(),
  }),
  days: z.array(ReconciledDay),
});
export type ReconciliationAnswer = z.infer<typeof ReconciliationAnswer>;
