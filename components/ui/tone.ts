/** How near a measure is to its ceiling. Amber and red are states and nothing else. */
export type Tone = "used" | "warning" | "critical" | "stale";

export const WARNING_SHARE = 0.8;
export const CRITICAL_SHARE = 0.95;

export function toneOf(share: number): Exclude<Tone, "stale"> {
  if (share >= CRITICAL_SHARE) return "critical";
  return share >= WARNING_SHARE ? "warning" : "used";
}

/** The colour of marks such as bars and lines. */
export function toneColor(tone: Tone): string {
  return `var(--hr-${tone})`;
}

/** The colour of words: ink as long as all is well. */
export function toneText(tone: Tone): string {
  if (tone === "stale") return "var(--hr-faint)";
  return tone === "used" ? "var(--hr-text)" : `var(--hr-${tone}-text)`;
}
