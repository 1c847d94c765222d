import { z } from "zod";
import { LANES, LIMITERS } from "../anthropic/pools.ts";
import { LimitSource } from "../limits/schema.ts";

export const Severity = z.enum(["warning", "critical"]);
export type Severity = z.infer<typeof Severity>;

/** What a limiter must match for a rule to watch it; absent means any. */
export const RuleScope = z.object({
  upstream: z.string().optional(),
  pool: z.string().optional(),
  lane: z.enum(LANES).optional(),
  limiter: z.enum(LIMITERS).optional(),
});
export type RuleScope = z.infer<typeof RuleScope>;

export const RuleInput = z.object({
  name: z.string().trim().min(1).max(100),
  kind: z.literal("utilisation"),
  enabled: z.boolean().default(true),
  scope: RuleScope.default({}),
  severity: Severity.default("warning"),
  /** Share of the limit at or above which the rule holds: 0.8 is 80 %. */
  threshold: z.number().gt(0).max(2).default(0.8),
  /** How long it must hold before it fires. */
  pendingSeconds: z.number().min(0).max(3600).default(10),
  /** It recovers when use stays below this share … */
  recoveryThreshold: z.number().gt(0).max(2).default(0.7),
  /** … for this long. */
  recoverySeconds: z.number().min(0).max(3600).default(120),
  /** Channels to tell; null tells all of them. */
  channelIds: z.array(z.uuid()).nullable().default(null),
});
export type RuleInput = z.infer<typeof RuleInput>;

export const Rule = RuleInput.extend({ id: z.uuid(), createdAt: z.string(), updatedAt: z.string() });
export type Rule = z.infer<typeof Rule>;

export const AlertState = z.enum(["pending", "firing", "recovering", "resolved"]);
export type AlertState = z.infer<typeof AlertState>;

export const ResolvedReason = z.enum(["recovered", "rule_deleted", "rule_disabled", "rule_changed", "limiter_gone"]);
export type ResolvedReason = z.infer<typeof ResolvedReason>;

/** One incident of one rule at one limiter, from pending to resolved. A pending one that never fired is deleted. */
export const Alert = z.object({
  id: z.uuid(),
  ruleId: z.uuid(),
  ruleName: z.string(),
  severity: Severity,
  state: AlertState,
  upstream: z.string(),
  pool: z.string(),
  poolName: z.string(),
  lane: z.enum(LANES),
  limiter: z.enum(LIMITERS),
  threshold: z.number(),
  /** Now, or the last value seen before it resolved. */
  utilisation: z.number(),
  used: z.number(),
  limit: z.int(),
  limitSource: LimitSource,
  peakUtilisation: z.number(),
  /** Who used most of this limiter in the 60 s before it fired: at most three. */
  topAgents: z.array(z.object({ agent: z.string(), share: z.number() })),
  pendingSince: z.string(),
  firedAt: z.string().nullable(),
  recoveringSince: z.string().nullable(),
  resolvedAt: z.string().nullable(),
  /** Why it ended, once it has. Anything but `recovered` means that nobody watches any more, not that use fell. */
  resolvedReason: ResolvedReason.nullish(),
});
export type Alert = z.infer<typeof Alert>;

export const AlertEvent = z.enum(["alert.firing", "alert.resolved", "alert.test"]);
export type AlertEvent = z.infer<typeof AlertEvent>;

export const ChannelInput = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("webhook"),
    name: z.string().trim().min(1).max(100),
    enabled: z.boolean().default(true),
    settings: z.object({ url: z.url({ protocol: /^https?$/ }) }),
  }),
  z.object({
    kind: z.literal("email"),
    name: z.string().trim().min(1).max(100),
    enabled: z.boolean().default(true),
    settings: z.object({ to: z.array(z.email()).min(1).max(20) }),
  }),
]);
export type ChannelInput = z.infer<typeof ChannelInput>;

/** A channel as it is shown. A webhook's signing secret is shown once, when it is created. */
export const Channel = z.object({
  id: z.uuid(),
  kind: z.enum(["webhook", "email"]),
  name: z.string(),
  enabled: z.boolean(),
  settings: z.record(z.string(), z.unknown()),
  /** Why Headroom itself switched it off, such as an endpoint that answered 410; null otherwise. */
  disabledReason: z.string().nullable(),
  createdAt: z.string(),
});
export type Channel = z.infer<typeof Channel>;

/** One delivery of one event to one channel: the outbox and its log. */
export const Notification = z.object({
  id: z.uuid(),
  alertId: z.uuid().nullable(),
  channelId: z.uuid(),
  channelName: z.string(),
  channelKind: z.enum(["webhook", "email"]),
  event: AlertEvent,
  state: z.enum(["waiting", "delivered", "failed", "dropped"]),
  attempts: z.int(),
  nextAttemptAt: z.string().nullable(),
  createdAt: z.string(),
  deliveredAt: z.string().nullable(),
  /** Of the last attempt: HTTP status or SMTP code, milliseconds, and the first kilobyte of the answer, secrets out. */
  lastStatus: z.int().nullable(),
  lastLatencyMs: z.number().nullable(),
  lastAnswer: z.string().nullable(),
});
export type Notification = z.infer<typeof Notification>;

/** A channel as its creator sees it, once. The secret verifies a webhook's signatures; null for other kinds. */
export const CreatedChannel = Channel.extend({ secret: z.string().nullable() });
export type CreatedChannel = z.infer<typeof CreatedChannel>;

/** What `/api/alerts` takes. Newest first; pending ones only when asked for. */
export const AlertsQuery = z.object({
  state: AlertState.optional(),
  rule: z.uuid().optional(),
  upstream: z.string().optional(),
  pool: z.string().optional(),
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
  cursor: z.uuid().optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export type AlertsQuery = z.infer<typeof AlertsQuery>;

export const AlertsPage = z.object({ alerts: z.array(Alert), nextCursor: z.string().nullable() });
export type AlertsPage = z.infer<typeof AlertsPage>;

/** What the delivery log takes. Newest first. */
export const NotificationsQuery = z.object({
  alert: z.uuid().optional(),
  channel: z.uuid().optional(),
  state: z.enum(["waiting", "delivered", "failed", "dropped"]).optional(),
  cursor: z
    .string()
    .regex(/^\d{1,18}$/, "must be the nextCursor of the page before")
    .optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export type NotificationsQuery = z.infer<typeof NotificationsQuery>;

export const NotificationsPage = z.object({ notifications: z.array(Notification), nextCursor: z.string().nullable() });
export type NotificationsPage = z.infer<typeof NotificationsPage>;
