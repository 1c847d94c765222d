import { send } from "#components/ui/send.ts";
import type { ReconciledDay, ReconciliationAnswer } from "#lib/reconciliation/schema.ts";

const DAY_MS = 86_400_000;

/** The newest day that Anthropic's reports were read of; null where none was yet. */
export type LastDay = { day: ReconciledDay | null; fault: string | null };

/** One entry, or none without an Admin key: there is then nothing to compare with. */
export async function readLastDay(): Promise<LastDay[]> {
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const range = new URLSearchParams({ from: iso(today - 7 * DAY_MS), to: iso(today) });
  const { reading, days } = await send<ReconciliationAnswer>("GET", `/api/usage/reconciliation?${range}`);
  if (!reading.hasAdminKey) return [];
  return [{ day: days.findLast(({ readAt }) => readAt !== null) ?? null, fault: reading.fault }];
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
