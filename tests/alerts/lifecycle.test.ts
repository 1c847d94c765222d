import { describe, expect, test } from "vitest";
import { evaluate, type Sample } from "../../lib/alerts/evaluate.ts";
import { close, type Happening, type Incident, step } from "../../lib/alerts/lifecycle.ts";
import type { Rule } from "../../lib/alerts/schema.ts";
import type { PoolState } from "../../lib/limits/schema.ts";
import { poolAt, ruleOf, seeded } from "./factories.ts";

const START = Date.UTC(2026, 10, 23, 8, 0, 0);

/** One incident's life, in rounds of two seconds. */
class Life {
  incident: Incident | null = null;
  told: string[] = [];
  states: string[] = [];
  ids = 0;
  nowMs = START;
  rule: Rule;

  constructor(rule: Rule = ruleOf()) {
    this.rule = rule;
  }

  round(pool: PoolState, elapsedMs = 2_000): Happening[] {
    this.nowMs += elapsedMs;
    const { incident, happenings } = step(this.incident, this.#sample(pool), {
      nowMs: this.nowMs,
      elapsedMs,
      createId: () => `incident-${++this.ids}`,
    });
    this.incident = incident?.alert.state === "resolved" ? null : incident;
    this.states.push(incident?.alert.state ?? "none");
    this.told.push(...happenings.map(({ event, number }) => `${incident?.alert.id} ${event} ${number}`));
    return happenings;
  }

  rounds(count: number, utilisation: number, patch?: Parameters<typeof poolAt>[1]): this {
    for (let i = 0; i < count; i++) this.round(poolAt(utilisation, patch));
    return this;
  }

  #sample(pool: PoolState): Sample {
    const [sample] = evaluate([this.rule], [pool], this.nowMs);
    if (!sample) throw new Error("the rule watches nothing");
    return sample;
  }
}

const lastState = (life: Life) => life.states.at(-1);

describe("a table of transitions", () => {
  test("stays silent below the threshold", () => {
    const life = new Life().rounds(100, 0.79);
    expect(life.told).toEqual([]);
    expect(life.incident).toBeNull();
  });

  test("is pending at the threshold and fires after the pending time, once", () => {
    const life = new Life().rounds(5, 0.8);
    expect(lastState(life)).toBe("pending");
    expect(life.told).toEqual([]);
    life.rounds(500, 0.9);
    expect(lastState(life)).toBe("firing");
    expect(life.told).toEqual(["incident-1 alert.firing 1"]);
    expect(life.incident?.alert.firedAt).toBe(new Date(START + 12_000).toISOString());
  });

  test("fires at once without a pending time", () => {
    const life = new Life(ruleOf({ pendingSeconds: 0 })).rounds(1, 0.8);
    expect(life.told).toEqual(["incident-1 alert.firing 1"]);
  });

  test("forgets a pending incident that goes away, without a word", () => {
    const life = new Life().rounds(5, 0.85).rounds(1, 0.75).rounds(5, 0.85);
    expect(life.told).toEqual([]);
    expect(life.ids).toBe(2);
  });

  test("teetering at the line for an hour gives one notice", () => {
    const life = new Life().rounds(6, 0.85);
    for (let i = 0; i < 900; i++) life.rounds(1, 0.81).rounds(1, 0.79);
    expect(life.told).toEqual(["incident-1 alert.firing 1"]);
  });

  test("recovers under the recovery line and resolves after the recovery time", () => {
    const life = new Life().rounds(6, 0.85).rounds(60, 0.69);
    expect(lastState(life)).toBe("recovering");
    life.rounds(1, 0.69);
    expect(lastState(life)).toBe("resolved");
    expect(life.told).toEqual(["incident-1 alert.firing 1", "incident-1 alert.resolved 1"]);
  });

  test("a figure between the two lines starts the recovery over and resolves nothing", () => {
    const life = new Life().rounds(6, 0.85).rounds(59, 0.5).rounds(1, 0.75).rounds(59, 0.5);
    expect(lastState(life)).toBe("recovering");
    expect(life.rounds(1, 0.5).told.at(-1)).toBe("incident-1 alert.resolved 1");
  });

  test("crossing again while recovering is the same incident and is not told", () => {
    const life = new Life().rounds(6, 0.85).rounds(30, 0.5).rounds(30, 0.95);
    expect(lastState(life)).toBe("firing");
    expect(life.told).toEqual(["incident-1 alert.firing 1"]);
    expect(life.incident?.alert.recoveringSince).toBeNull();
  });

  test("crossing after it resolved is a new incident and is told again", () => {
    const life = new Life().rounds(6, 0.85).rounds(61, 0.2).rounds(6, 0.85);
    expect(life.told).toEqual([
      "incident-1 alert.firing 1",
      "incident-1 alert.resolved 1",
      "incident-2 alert.firing 1",
    ]);
  });

  test("remembers the peak until it resolves", () => {
    const life = new Life().rounds(6, 0.85).rounds(1, 0.97).rounds(3, 0.5);
    expect(life.incident?.alert).toMatchObject({ peakUtilisation: 0.97, utilisation: 0.5 });
  });

  test("a raised limit lets it recover, a lowered one keeps it up without a second notice", () => {
    const raised = { limiterPatch: { limit: 4_000_000 } };
    const life = new Life().rounds(6, 0.85).rounds(1, 0.425, raised);
    expect(life.incident?.alert).toMatchObject({ state: "recovering", limit: 4_000_000, used: 1_700_000 });
    const lowered = { limiterPatch: { limit: 1_000_000 } };
    const other = new Life().rounds(6, 0.85).rounds(10, 1.7, lowered);
    expect(other.incident?.alert).toMatchObject({ state: "firing", limit: 1_000_000, peakUtilisation: 1.7 });
    expect(other.told).toHaveLength(1);
  });

  test("closing says why, and only if firing was told", () => {
    const firing = new Life().rounds(6, 0.85).incident;
    const pending = new Life().rounds(2, 0.85).incident;
    if (!firing || !pending) throw new Error("expected incidents");
    expect(close(firing, "rule_deleted", START)).toMatchObject({
      incident: { alert: { state: "resolved", resolvedReason: "rule_deleted" } },
      happenings: [{ event: "alert.resolved", number: 1 }],
    });
    expect(close(pending, "rule_deleted", START)).toEqual({ incident: null, changed: true, happenings: [] });
  });

  test("rising to critical is told once per incident", () => {
    const guess = { limiterPatch: { source: "published" as const } };
    const life = new Life(ruleOf({ severity: "critical" })).rounds(20, 0.95, guess);
    expect(life.incident?.alert.severity).toBe("warning");
    life.rounds(1, 0.95);
    expect(life.incident?.alert.severity).toBe("critical");
    for (let i = 0; i < 10; i++) life.rounds(2, 0.95, guess).rounds(2, 0.95);
    expect(life.told).toEqual(["incident-1 alert.firing 1", "incident-1 alert.firing 2"]);
  });
});

describe("missing data", () => {
  const blind = { state: "stale" as const, openCalls: 2 };

  test("never resolves: calls flow, headers are missing, and the low figure means nothing", () => {
    const life = new Life().rounds(6, 0.85).rounds(1_000, 0.1, blind);
    expect(lastState(life)).toBe("firing");
    expect(life.incident?.alert.utilisation).toBe(0.85);
  });

  test("stops the recovery clock and does not turn it back", () => {
    const life = new Life().rounds(6, 0.85).rounds(31, 0.5).rounds(1_000, 0.1, blind);
    expect(lastState(life)).toBe("recovering");
    expect(life.rounds(29, 0.5).told).toHaveLength(1);
    expect(life.rounds(1, 0.5).told).toHaveLength(2);
  });

  test("a high figure of our own counts though headers are missing", () => {
    expect(new Life().rounds(6, 0.9, blind).told).toEqual(["incident-1 alert.firing 1"]);
  });

  test("traffic that stops resolves it as the bucket refills, though headers grow old", () => {
    const life = new Life().rounds(6, 0.9);
    const lastCallAt = new Date(life.nowMs).toISOString();
    const idle = (state: PoolState["state"]) => ({ state, lastCallAt, openCalls: 0 });
    life.rounds(10, 0.75, idle("live")).rounds(50, 0, idle("live")).rounds(11, 0, idle("stale"));
    expect(life.told.at(-1)).toBe("incident-1 alert.resolved 1");
  });

  test("idle and unseen pools never alert", () => {
    const life = new Life().rounds(50, 0, { state: "idle" }).rounds(50, 0, { state: "unseen", lastCallAt: null });
    expect(life.states.every((state) => state === "none")).toBe(true);
  });
});

test("200 seeded random lives never tell twice, and resolve once what they told", () => {
  for (let seed = 0; seed < 200; seed++) live(seed);
});

function live(seed: number): void {
  const random = seeded(seed);
  const life = new Life(
    ruleOf({
      pendingSeconds: Math.floor(random() * 20),
      recoverySeconds: Math.floor(random() * 40),
      severity: random() < 0.5 ? "warning" : "critical",
    }),
  );
  let use = random();
  let before = "none";
  for (let i = 0; i < 400; i++) {
    use = Math.min(1.2, Math.max(0, use + (random() - 0.5) * 0.4));
    const pool = poolAt(use, {
      state: random() < 0.2 ? "stale" : "live",
      openCalls: 1,
      limiterPatch: { source: random() < 0.2 ? "published" : "header" },
    });
    const happenings = life.round(pool, random() * 4_000);
    const now = life.states.at(-1) ?? "none";
    // Nothing is told unless the state changed, or the severity rose.
    if (happenings.some(({ number, event }) => event === "alert.resolved" || number === 1)) {
      expect(now, `seed ${seed}`).not.toBe(before);
    }
    if (before === "firing" || before === "recovering") expect(now, `seed ${seed}`).not.toBe("pending");
    before = now === "resolved" ? "none" : now;
  }
  expect(new Set(life.told).size, `seed ${seed}`).toBe(life.told.length);
  const firing = life.told.filter((line) => line.endsWith("alert.firing 1"));
  const resolved = life.told.filter((line) => line.includes("alert.resolved"));
  const isOpen = life.incident !== null && life.incident.alert.state !== "pending";
  // Told in pairs and in order; only the last one may still be open.
  expect(firing.length - resolved.length, `seed ${seed}`).toBe(isOpen ? 1 : 0);
  for (const line of resolved) {
    const first = life.told.indexOf(line.replace("alert.resolved 1", "alert.firing 1"));
    expect(first, `seed ${seed}`).toBeGreaterThanOrEqual(0);
    expect(first, `seed ${seed}`).toBeLessThan(life.told.indexOf(line));
  }
}
