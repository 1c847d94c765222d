import type { Sample } from "./evaluate.ts";
import type { Alert, ResolvedReason } from "./schema.ts";

/**
 * Has anything changed? The life of one incident as a table of transitions. Pure: told the time.
 *
 * | from       | reading          | to                     | tell     |
 * | ---------- | ---------------- | ---------------------- | -------- |
 * | none       | above            | pending, or firing (¹) | firing ¹ |
 * | pending    | above, held long | firing                 | firing   |
 * | pending    | anything else    | none                   |          |
 * | firing     | below            | recovering             |          |
 * | recovering | above            | firing, same incident  |          |
 * | recovering | between          | the same, starts over  |          |
 * | recovering | below, held long | resolved               | resolved |
 * | firing, recovering | blind    | the same               |          |
 *
 * ¹ When the rule has no pending time. An incident that rises to critical while it fires is told once more.
 *
 * Durations are sums of elapsed time that the caller measured on a monotonic clock, so that a wall clock set back or
 * forward neither fires nor resolves anything; wall time only stamps.
 */
export type Incident = {
  alert: Alert;
  /** How long the reading has been what the state needs: above while pending, below while recovering. */
  heldMs: number;
  /** Firing notices so far: 1 for firing, 2 once it rose to critical. */
  told: number;
};

export type Happening = { event: "alert.firing" | "alert.resolved"; number: number };

export type Step = {
  /** Null when there is nothing, or nothing any more. A resolved one is handed out once. */
  incident: Incident | null;
  /** Whether the state differs from before, so that it must be stored. Fresh figures alone do not count. */
  changed: boolean;
  happenings: Happening[];
};

export type Moment = {
  /** Stamps: milliseconds since the epoch. */
  nowMs: number;
  /** Monotonic milliseconds since this incident was last stepped. */
  elapsedMs: number;
  createId: () => string;
};

export function step(incident: Incident | null, sample: Sample, moment: Moment): Step {
  if (!incident) return sample.reading === "above" ? open(sample, moment) : nothing();
  switch (incident.alert.state) {
    case "pending":
      return sample.reading === "above" ? press(incident, sample, moment) : nothing(true);
    case "firing":
      return sample.reading === "below" ? recover(incident, sample, moment) : burn(incident, sample);
    case "recovering":
      return heal(incident, sample, moment);
    case "resolved":
      return { incident, changed: false, happenings: [] };
  }
}

/** Ends an incident that nobody watches any more. Whoever heard that it fired hears that it is over, and why. */
export function close(incident: Incident, reason: ResolvedReason, nowMs: number): Step {
  if (incident.alert.state === "pending") return nothing(true);
  if (incident.alert.state === "resolved") return { incident, changed: false, happenings: [] };
  return {
    incident: {
      ...incident,
      alert: { ...incident.alert, state: "resolved", resolvedAt: stamp(nowMs), resolvedReason: reason },
    },
    changed: true,
    happenings: [{ event: "alert.resolved", number: 1 }],
  };
}

function open(sample: Sample, { nowMs, createId }: Moment): Step {
  const { rule, pool, limiter } = sample;
  const alert: Alert = {
    id: createId(),
    ruleId: rule.id,
    ruleName: rule.name,
    severity: sample.severity,
    state: "pending",
    upstream: pool.upstream,
    pool: pool.pool,
    poolName: pool.name,
    lane: pool.lane,
    limiter: limiter.limiter,
    threshold: rule.threshold,
    utilisation: limiter.utilisation,
    used: limiter.used,
    limit: limiter.limit,
    limitSource: limiter.source,
    peakUtilisation: limiter.utilisation,
    topAgents: [],
    pendingSince: stamp(nowMs),
    firedAt: null,
    recoveringSince: null,
    resolvedAt: null,
    resolvedReason: null,
  };
  const incident: Incident = { alert, heldMs: 0, told: 0 };
  return rule.pendingSeconds > 0 ? { incident, changed: true, happenings: [] } : fire(incident, nowMs);
}

function press(incident: Incident, sample: Sample, { nowMs, elapsedMs }: Moment): Step {
  const held = { ...seen(incident, sample), heldMs: incident.heldMs + elapsedMs };
  held.alert.severity = sample.severity;
  return held.heldMs >= sample.rule.pendingSeconds * 1000
    ? fire(held, nowMs)
    : { incident: held, changed: false, happenings: [] };
}

function fire(incident: Incident, nowMs: number): Step {
  return {
    incident: { alert: { ...incident.alert, state: "firing", firedAt: stamp(nowMs) }, heldMs: 0, told: 1 },
    changed: true,
    happenings: [{ event: "alert.firing", number: 1 }],
  };
}

function burn(incident: Incident, sample: Sample): Step {
  if (sample.reading === "blind") return { incident, changed: false, happenings: [] };
  const next = seen(incident, sample);
  const rose = incident.alert.severity === "warning" && sample.severity === "critical" && sample.reading === "above";
  if (rose) next.alert.severity = "critical";
  else if (sample.severity === "warning") next.alert.severity = "warning";
  const changed = next.alert.severity !== incident.alert.severity;
  // Once per incident, so that a limit teetering between two severities does not spam.
  if (!rose || incident.told >= 2) return { incident: next, changed, happenings: [] };
  return { incident: { ...next, told: 2 }, changed: true, happenings: [{ event: "alert.firing", number: 2 }] };
}

function recover(incident: Incident, sample: Sample, { nowMs }: Moment): Step {
  const next = seen(incident, sample);
  next.alert.state = "recovering";
  next.alert.recoveringSince = stamp(nowMs);
  next.heldMs = 0;
  return sample.rule.recoverySeconds > 0
    ? { incident: next, changed: true, happenings: [] }
    : close(next, "recovered", nowMs);
}

function heal(incident: Incident, sample: Sample, { nowMs, elapsedMs }: Moment): Step {
  if (sample.reading === "blind") return { incident, changed: false, happenings: [] };
  const next = seen(incident, sample);
  if (sample.reading === "above") {
    next.alert.state = "firing";
    next.alert.recoveringSince = null;
    const { incident: burning, happenings } = burn({ ...next, heldMs: 0 }, sample);
    return { incident: burning, changed: true, happenings };
  }
  if (sample.reading === "between") {
    next.alert.recoveringSince = stamp(nowMs);
    return { incident: { ...next, heldMs: 0 }, changed: false, happenings: [] };
  }
  next.heldMs = incident.heldMs + elapsedMs;
  return next.heldMs >= sample.rule.recoverySeconds * 1000
    ? close(next, "recovered", nowMs)
    : { incident: next, changed: false, happenings: [] };
}

/** The incident with the figures of now: the limit may have been raised, the rule renamed. */
function seen(incident: Incident, { rule, pool, limiter }: Sample): Incident {
  return {
    ...incident,
    alert: {
      ...incident.alert,
      ruleName: rule.name,
      poolName: pool.name,
      threshold: rule.threshold,
      utilisation: limiter.utilisation,
      used: limiter.used,
      limit: limiter.limit,
      limitSource: limiter.source,
      peakUtilisation: Math.max(incident.alert.peakUtilisation, limiter.utilisation),
    },
  };
}

function nothing(changed = false): Step {
  return { incident: null, changed, happenings: [] };
}

function stamp(ms: number): string {
  return new Date(ms).toISOString();
}
