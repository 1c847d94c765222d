import type { Channel, Notification, Rule } from "#lib/alerts/schema.ts";
import type { Overview } from "#lib/overview/schema.ts";

const AT = "2026-11-23T08:00:00.000Z";

/** `/api/rules`, `/api/channels`, `/api/alerts` and `/api/notifications` over a few made-up rows held in memory. */
export function createAlertsApi(overview: () => Overview) {
  const rules: Rule[] = [
    rule(1, { name: "Headroom over 80 %" }),
    rule(2, { name: "Nearly out", severity: "critical", threshold: 0.95 }),
  ];
  const channels: Channel[] = [
    channel(1, { kind: "email", name: "On-call mail", settings: { to: ["oncall@acme.example"] } }),
    channel(2, { kind: "webhook", name: "In-house webhook", settings: { url: "https://hooks.acme.example/headroom" } }),
  ];
  const notifications: Notification[] = [
    notification(1, {
      channelName: "In-house webhook",
      channelKind: "webhook",
      state: "waiting",
      attempts: 2,
      lastStatus: 503,
      lastLatencyMs: 212,
      lastAnswer: "busy",
    }),
    notification(2, {}),
  ];
  return (method: string, path: string, body: unknown) => {
    const [, , noun, id, verb] = path.split("/");
    const given = (body ?? {}) as Record<string, never>;
    if (noun === "alerts") {
      const past = overview().alerts.map((alert) => ({
        ...alert,
        id: uuid(77),
        state: "resolved" as const,
        utilisation: 0.61,
        firedAt: "2026-11-23T02:14:00.000Z",
        pendingSince: "2026-11-23T02:13:50.000Z",
        resolvedAt: "2026-11-23T02:20:12.000Z",
      }));
      return ok({ alerts: [...overview().alerts, ...past], nextCursor: null });
    }
    if (noun === "notifications") return ok({ notifications, nextCursor: null });
    if (noun === "rules") {
      const at = rules.findIndex((entry) => entry.id === id);
      if (method === "POST") rules.push(rule(rules.length + 10, given));
      else if (method === "PATCH") rules[at] = { ...(rules[at] as Rule), ...given };
      else if (method === "DELETE") rules.splice(at, 1);
      return ok(method === "GET" ? { rules } : { rule: rules.at(at) });
    }
    if (noun === "channels") {
      const at = channels.findIndex((entry) => entry.id === id);
      if (verb === "test") return ok({ notification: notification(9, { event: "alert.test" }) });
      if (method === "POST") {
        const added = channel(channels.length + 10, given);
        channels.push(added);
        return ok({ channel: added, secret: added.kind === "webhook" ? "whsec_bWFkZS11cC1mb3ItYS10ZXN0" : null });
      }
      if (method === "PATCH") channels[at] = { ...(channels[at] as Channel), ...given };
      else if (method === "DELETE") channels.splice(at, 1);
      return ok(method === "GET" ? { channels } : { channel: channels.at(at) });
    }
    return null;
  };
}

function ok(body: unknown) {
  return { status: 200, body };
}

function uuid(number: number): string {
  return `0199a3c1-0000-7000-8000-${String(number).padStart(12, "0")}`;
}

function rule(number: number, given: Partial<Rule>): Rule {
  return {
    id: uuid(number),
    name: "",
    kind: "utilisation",
    enabled: true,
    scope: {},
    severity: "warning",
    threshold: 0.8,
    pendingSeconds: 10,
    recoveryThreshold: 0.7,
    recoverySeconds: 120,
    channelIds: null,
    createdAt: AT,
    updatedAt: AT,
    ...given,
  };
}

function channel(number: number, given: Partial<Channel>): Channel {
  return {
    id: uuid(100 + number),
    kind: "webhook",
    name: "",
    enabled: true,
    settings: {},
    disabledReason: null,
    createdAt: AT,
    ...given,
  };
}

function notification(number: number, given: Partial<Notification>): Notification {
  return {
    id: uuid(200 + number),
    alertId: uuid(1),
    channelId: uuid(101),
    channelName: "On-call mail",
    channelKind: "email",
    event: "alert.firing",
    state: "delivered",
    attempts: 1,
    nextAttemptAt: null,
    createdAt: "2026-11-23T08:39:55.000Z",
    deliveredAt: "2026-11-23T08:39:55.412Z",
    lastStatus: 250,
    lastLatencyMs: 412,
    lastAnswer: "2.0.0 Ok: queued",
    ...given,
  };
}
