import { parseTime } from "./rate-limit-headers.ts";

/**
 * `anthropic-ratelimit-unified-*`: what calls with a claude.ai login get instead of limits per minute. Each window tells
 * the share of it that is spent and when it ends, never a limit or a remainder, so these are no pool's limiters and are
 * kept apart from them.
 */
export type UnifiedWindow = {
  /** As `representative-claim` names them: `five_hour`, `seven_day`, `seven_day_opus`, `overage`, … */
  window: string;
  /** The share that is spent: 0.8 is 80 %. */
  utilisation: number | null;
  /** When the window ends, ISO 8601 by the upstream's clock. */
  resetAt: string | null;
  /** `allowed`, `allowed_warning` or `rejected`. */
  status: string | null;
  /** The warning threshold that was passed, such as 0.75. */
  surpassedThreshold: number | null;
};

export type UnifiedLimits = {
  /** Of all windows together. */
  status: string | null;
  resetAt: string | null;
  /** The window that binds. */
  representative: string | null;
  /** Why no paid overage takes over, such as `out_of_credits`. */
  overageDisabledReason: string | null;
  windows: UnifiedWindow[];
};

const PREFIX = "anthropic-ratelimit-unified-";
const WINDOW =
  /^(\d+[hd](?:_[a-z]+)*|(?:five_hour|seven_day)(?:_[a-z]+)*|overage)-(utilization|reset|status|surpassed-threshold)$/;
const MAX_WINDOWS = 16;

/** The names in headers are shorter than those in claims. */
const CLAIMS: Readonly<Record<string, string | undefined>> = {
  "5h": "five_hour",
  "7d": "seven_day",
  "7d_oi": "seven_day_overage_included",
  "7d_opus": "seven_day_opus",
  "7d_sonnet": "seven_day_sonnet",
};

/** Reads them from an answer's rate-limit headers, by lower-case name. Null when the answer has none of the family. */
export function parseUnifiedWindows(values: Readonly<Record<string, string>>): UnifiedLimits | null {
  const windows = new Map<string, UnifiedWindow>();
  let isUnified = false;
  for (const name in values) {
    if (!name.startsWith(PREFIX)) continue;
    isUnified = true;
    const [, short = "", field] = WINDOW.exec(name.slice(PREFIX.length)) ?? [];
    if (short === "") continue;
    const key = CLAIMS[short] ?? short;
    let window = windows.get(key);
    if (!window) {
      if (windows.size >= MAX_WINDOWS) continue;
      window = { window: key, utilisation: null, resetAt: null, status: null, surpassedThreshold: null };
      windows.set(key, window);
    }
    const value = values[name];
    if (field === "utilization") window.utilisation = parseShare(value);
    else if (field === "reset") window.resetAt = parseReset(value);
    else if (field === "status") window.status = parseWord(value);
    else window.surpassedThreshold = parseShare(value);
  }
  if (!isUnified) return null;
  return {
    status: parseWord(values[`${PREFIX}status`]),
    resetAt: parseReset(values[`${PREFIX}reset`]),
    representative: parseWord(values[`${PREFIX}representative-claim`]),
    overageDisabledReason: parseWord(values[`${PREFIX}overage-disabled-reason`]),
    windows: [...windows.values()],
  };
}

function parseShare(value: string | undefined): number | null {
  return value !== undefined && /^\d{1,6}(?:\.\d{1,20})?$/.test(value.trim()) ? Number(value) : null;
}

/** Unix seconds, as these headers have them, or ISO 8601, as all others do. */
function parseReset(value: string | undefined): string | null {
  const time = parseTime(value?.trim().replace(/^(\d{9,11})\.\d+$/, "$1"));
  return time === null ? null : new Date(time).toISOString();
}

function parseWord(value: string | undefined): string | null {
  return value !== undefined && /^[\w.-]{1,64}$/.test(value.trim()) ? value.trim() : null;
}
