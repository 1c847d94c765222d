/** How numbers and times are written. Unknown is "–"; a percent sign stands after a narrow no-break space. */
const NARROW = "\u202f";
const MINUS = "\u2212";
export const UNKNOWN = "–";

/** 1,740,000. */
export function formatCount(value: number): string {
  return Math.round(value).toLocaleString("en-US").replace("-", MINUS);
}

/** For limits and axes: 412, 88.5k, 260k, 1.69M, 2M. Never longer than six characters. */
export function formatShort(value: number): string {
  const size = Math.abs(value);
  if (size < 1_000) return formatCount(value);
  if (size < 999_500) return `${trim(value / 1_000, size < 99_950 ? 1 : 0)}k`;
  if (size < 999_500_000) return `${trim(value / 1_000_000, size < 99_950_000 ? 2 : 0)}M`;
  return `${trim(value / 1_000_000_000, 2)}B`;
}

/** For what is used, where a small change should be seen to move: 412, 61,000, 1,740k. */
export function formatUsed(value: number): string {
  return Math.abs(value) < 100_000 ? formatCount(value) : `${formatCount(value / 1_000)}k`;
}

/** The whole number of a share: 87 of 0.8712. Under one per cent but above nothing it is 1, so that zero means zero. */
export function percentOf(share: number): number {
  if (share > 0 && share < 0.005) return 1;
  return Math.round(share * 100);
}

/** "87 %". */
export function formatPercent(share: number): string {
  return `${percentOf(share)}${NARROW}%`;
}

/** "0.4 s", "52 s", "1 min 13 s", "4 min", "6 h", "3 d". */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1_000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  if (seconds < 180) {
    const whole = Math.round(seconds);
    const rest = whole % 60;
    return rest === 0 ? `${whole / 60} min` : `${Math.floor(whole / 60)} min ${rest} s`;
  }
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** "0.4 s ago"; "just now" for what lies less than a moment back or, by a skewed clock, ahead. */
export function formatAge(fromIso: string, atMs: number): string {
  const age = atMs - Date.parse(fromIso);
  return age < 50 ? "just now" : `${formatDuration(age)} ago`;
}

/** Latencies: "84 ms", "1.12 s", "14.1 s". */
export function formatLatency(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return ms < 9_995 ? `${(ms / 1_000).toFixed(2)} s` : `${(ms / 1_000).toFixed(1)} s`;
}

/** A band of seconds in the coarseness it deserves: "35–50 s", "50 s–2 min", "4–7 min", "now". */
export function formatBand(minSeconds: number, maxSeconds: number): string {
  const low = roundSeconds(minSeconds);
  const high = Math.max(low, roundSeconds(maxSeconds));
  if (high <= 1) return "a second";
  const [lowText, lowUnit] = unitOf(low);
  const [highText, highUnit] = unitOf(high);
  if (lowText === highText && lowUnit === highUnit) return `${highText} ${highUnit}`;
  return lowUnit === highUnit ? `${lowText}–${highText} ${highUnit}` : `${lowText} ${lowUnit}–${highText} ${highUnit}`;
}

/** "08:41:07", or "08:41" without seconds; UTC. */
export function formatClock(ms: number, withSeconds = true): string {
  return new Date(ms).toISOString().slice(11, withSeconds ? 19 : 16);
}

/** "23 Nov 08:41:07"; UTC. */
export function formatDay(ms: number): string {
  const date = new Date(ms);
  const month = date.toLocaleString("en-GB", { month: "short", timeZone: "UTC" });
  return `${date.getUTCDate()} ${month} ${formatClock(ms)}`;
}

function trim(value: number, decimals: number): string {
  const text = value.toFixed(decimals);
  return (text.includes(".") ? text.replace(/\.?0+$/, "") : text).replace("-", MINUS);
}

function roundSeconds(seconds: number): number {
  const value = Math.max(0, seconds);
  if (value < 10) return Math.round(value);
  return value < 57.5 ? Math.round(value / 5) * 5 : Math.max(60, Math.round(value / 60) * 60);
}

function unitOf(seconds: number): [text: string, unit: "s" | "min"] {
  return seconds < 60 ? [String(seconds), "s"] : [String(Math.round(seconds / 60)), "min"];
}
