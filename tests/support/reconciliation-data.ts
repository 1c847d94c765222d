import type { DaySums, ReconciledDay, ReconciliationAnswer } from "#lib/reconciliation/schema.ts";

export type Books = "different" | "empty" | "unread" | "stale" | "failing" | "none";

const AT = "2026-11-23T08:29:00.000Z";

/** What `/api/usage/reconciliation` says in each state of the panel. */
export function reconciliationAnswer(books: Books): { status: number; body: unknown } {
  if (books === "failing") {
    return { status: 503, body: { error: { code: "unavailable", message: "The database cannot be reached." } } };
  }
  const day = (given: Partial<ReconciledDay>): ReconciledDay => ({
    ...{ day: "2026-11-22T00:00:00.000Z", readAt: AT, reason: null, models: [] },
    ...{ total: { anthropic: sums(0), headroom: { ...sums(0), unpricedCalls: 0 }, difference: sums(0) } },
    ...given,
  });
  const days: Record<Exclude<Books, "failing">, ReconciledDay[]> = {
    different: [day(differing())],
    stale: [day(differing())],
    empty: [day({})],
    unread: [day({ readAt: null, reason: "not_read" })],
    none: [],
  };
  const body: ReconciliationAnswer = {
    reading: {
      hasAdminKey: books !== "none",
      fault: books === "stale" ? "api.anthropic.com does not accept ANTHROPIC_ADMIN_KEY (401)." : null,
      triedAt: AT,
    },
    days: days[books],
  };
  return { status: 200, body };
}

function differing(): Pick<ReconciledDay, "models" | "total"> {
  const own = (scale: number, unpricedCalls = 0) => ({ ...sums(scale), unpricedCalls });
  return {
    models: [
      { model: "claude-haiku-4-5", reason: null, anthropic: sums(3), headroom: own(3, 2), difference: sums(0) },
      { model: "claude-opus-5-5", reason: null, anthropic: sums(9), headroom: own(7), difference: sums(2) },
      {
        model: "claude-sonnet-5-5",
        reason: "outside_headroom",
        anthropic: sums(1),
        headroom: null,
        difference: sums(1),
      },
      {
        model: null,
        reason: null,
        anthropic: searches(1),
        headroom: { ...searches(3), unpricedCalls: 0 },
        difference: searches(-2),
      },
    ],
    total: { anthropic: sums(13), headroom: own(10, 2), difference: sums(3) },
  };
}

function sums(scale: number): DaySums {
  return {
    inputTokens: 1_000_000 * scale,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 20_000 * scale,
    cacheReadTokens: 3_000_000 * scale,
    outputTokens: 90_000 * scale,
    webSearchRequests: 0,
    costNanoUsd: 6_250_000_000 * scale,
  };
}

/** They cost, and have no tokens of their own. */
function searches(count: number): DaySums {
  return { ...sums(0), costNanoUsd: 10_000_000 * count };
}
