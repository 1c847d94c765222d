import type { Limiter } from "../anthropic/pools.ts";
import type { LimitSource } from "../limits/schema.ts";
import type { Notice } from "./channels/channel.ts";
import type { Alert, ResolvedReason } from "./schema.ts";

/** What a person is told, as data: each channel lays it out in its own way and escapes it. */
export type Wording = {
  /** What is near its limit and how much: one sentence. */
  headline: string;
  facts: { label: string; value: string }[];
  agents: { agent: string; share: string }[];
  advice: string[];
};

export const LIMITER_NAMES: Record<Limiter, string> = {
  requests: "requests/min",
  input_tokens: "input tokens/min",
  output_tokens: "output tokens/min",
  tokens: "tokens/min",
};

const SOURCES: Record<LimitSource, string> = {
  header: "from Anthropic's response headers",
  rate_limits_api: "from Anthropic's rate limits API",
  operator: "entered by an operator",
  published: "from Anthropic's published table: a guess about your organization",
};

const ENDINGS: Record<Exclude<ResolvedReason, "recovered">, string> = {
  rule_deleted: "its rule was deleted",
  rule_disabled: "its rule was switched off",
  rule_changed: "its rule no longer watches this limit",
  limiter_gone: "the limit is no longer reported",
};

const ADVICE: Record<Limiter, string[]> = {
  requests: [
    "Merge small calls, or move work that can wait to the Message Batches API: it has limits of its own.",
    "Give agents that can wait a lower class, so that urgent calls keep their room.",
  ],
  input_tokens: [
    "Cache long, repeated prompts: on current models cache reads do not count towards this limit.",
    "Give agents that can wait a lower class, or move part of the work to another model.",
  ],
  output_tokens: [
    "Run fewer long generations at once: output counts as it is produced, whatever max_tokens says.",
    "Give agents that can wait a lower class, or move part of the work to another model.",
  ],
  tokens: [
    "Cache long, repeated prompts and run fewer long generations at once.",
    "Give agents that can wait a lower class, or move part of the work to another model.",
  ],
};

/** The part of a subject or title that all notices of one incident share. */
export function stem(alert: Alert): string {
  const lane = alert.lane === "standard" ? "" : ` (${alert.lane})`;
  return `${alert.poolName}${lane} · ${LIMITER_NAMES[alert.limiter]} · ${alert.upstream}`;
}

/** `[FIRING 87%] Opus 5 · input tokens/min · acme-prod`. */
export function title({ event, alert, channelName }: Pick<Notice, "event" | "alert" | "channelName">): string {
  if (!alert) return `[TEST] Headroom reaches ${channelName}`;
  return event === "alert.resolved"
    ? `[RESOLVED] ${stem(alert)}`
    : `[FIRING ${percent(alert.utilisation)}] ${stem(alert)}`;
}

/** One sentence that stands alone. */
export function summarise(notice: Notice): string {
  const { alert } = notice;
  if (!alert) return `This is a test from Headroom: alerts reach ${notice.channelName}.`;
  const what = `${alert.poolName} ${LIMITER_NAMES[alert.limiter]} at ${alert.upstream}`;
  if (notice.event === "alert.resolved") {
    return alert.resolvedReason && alert.resolvedReason !== "recovered"
      ? `The alert on ${what} was closed, because ${ENDINGS[alert.resolvedReason]}.`
      : `${what} is back at ${percent(alert.utilisation)} of its limit.`;
  }
  const rise = notice.eventNumber > 1 ? " and is now critical" : "";
  return `${what} is at ${percent(alert.utilisation)} of its limit${rise}.`;
}

export function describe(notice: Notice): Wording {
  const { alert } = notice;
  if (!alert) {
    return {
      headline: summarise(notice),
      facts: [{ label: "Sent", value: moment(notice.createdAt) }],
      agents: [],
      advice: ["Nothing to do: this is what an alert's way looks like."],
    };
  }
  return notice.event === "alert.resolved" ? describeResolved(notice, alert) : describeFiring(notice, alert);
}

/** 0.876 as "87%": rounded down, so that 100% is said only at the limit. */
export function percent(share: number): string {
  return `${Math.floor(share * 100 + 1e-9)}%`;
}

function describeFiring(notice: Notice, alert: Alert): Wording {
  return {
    headline: summarise(notice),
    facts: [
      { label: "Now", value: `${use(alert)}` },
      { label: "Limit", value: SOURCES[alert.limitSource] },
      { label: "Since", value: moment(alert.pendingSince) },
      { label: "Upstream", value: alert.upstream },
      { label: "Severity", value: alert.severity },
      { label: "Rule", value: `${alert.ruleName} (at or above ${percent(alert.threshold)})` },
    ],
    agents: alert.topAgents.map(({ agent, share }) => ({ agent, share: percent(share) })),
    advice: ADVICE[alert.limiter],
  };
}

function describeResolved(notice: Notice, alert: Alert): Wording {
  const from = alert.firedAt ?? alert.pendingSince;
  const to = alert.resolvedAt ?? notice.createdAt;
  return {
    headline: summarise(notice),
    facts: [
      { label: "Lasted", value: duration(Date.parse(to) - Date.parse(from)) },
      { label: "Peak", value: `${percent(alert.peakUtilisation)} of the limit` },
      { label: "Now", value: use(alert) },
      { label: "Fired", value: moment(from) },
      { label: "Resolved", value: moment(to) },
      { label: "Upstream", value: alert.upstream },
      { label: "Rule", value: alert.ruleName },
    ],
    agents: [],
    advice: [],
  };
}

function use(alert: Alert): string {
  return `${count(alert.used)} of ${count(alert.limit)} ${LIMITER_NAMES[alert.limiter]} (${percent(alert.utilisation)})`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function moment(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
}

/** "45 s", "3 min 20 s", "2 h 5 min". */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
