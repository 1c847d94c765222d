import { describe, expect, test } from "vitest";
import { IndexedHeap } from "../../lib/traffic/indexed-heap.ts";
import type { LedgerState } from "../../lib/traffic/schema.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { UpstreamModel, type UpstreamOptions } from "../bench/admission-upstream.ts";
import { Random } from "../support/random.ts";

/** What the mirror believes, held against an upstream whose buckets are known exactly. */

const LIMITS = [1_000, 450_000, 90_000] as const;
/** Headers round tokens to thousands, which moves the mirror by half of that either way. */
const ROUNDING = 1_000;

type Look = { nowS: number; ledger: LedgerState; truth: readonly number[] };

/** Random calls for ten minutes, at a load that fills the queue; what streams produce is told exactly, ten times a second. */
function run(accounting: UpstreamOptions["accounting"], seed: number, look: (look: Look) => void): void {
  const random = new Random(seed);
  const upstream = new UpstreamModel(
    {
      ...{ limits: LIMITS, burstS: 60, accounting, fullThenAdjust: false },
      ...{ acceleration: false, storm: null, limitChange: null },
    },
    () => random.next(),
  );
  const controller = new TrafficController({ random: () => random.next() });
  controller.setGroup("default", ["a"], 0);
  const events = new IndexedHeap<(nowS: number) => void>();
  const open = new Map<number, { startS: number; output: number; tokensPerS: number }>();
  const calls = new Map<number, { input: number; output: number; tokensPerS: number }>();
  const at = (timeS: number, what: (nowS: number) => void) => events.push(timeS, what);

  const send = (id: number, nowS: number) => {
    const call = calls.get(id) ?? { input: 1, output: 1, tokensPerS: 1 };
    const load = { ...call, uncached: call.input, maxTokens: 4_096, foreign: false };
    const verdict = upstream.admit(load, nowS);
    if (!verdict.ok) {
      const { status, cause, retryAfterS, limits, afterS } = verdict;
      at(nowS + afterS, (laterS) => controller.refused(id, { status, cause, retryAfterS, limits }, laterS));
      return;
    }
    at(nowS + 0.5 + random.next(), (startS) => {
      upstream.begin(verdict.open, startS);
      const input = { uncachedInputTokens: call.input, totalInputTokens: call.input };
      open.set(id, { startS, ...call });
      controller.head(id, { limits: verdict.limits, ...input }, startS);
      at(startS + call.output / call.tokensPerS, (endS) => {
        open.delete(id);
        upstream.end(verdict.open, endS);
        controller.end(id, { ...input, outputTokens: call.output }, endS);
      });
    });
  };
  const arrive = (nowS: number) => {
    const call = { input: 200 + random.int(5_000), output: 20 + random.int(1_000), tokensPerS: 40 + random.int(40) };
    const place = {
      group: "default",
      pool: "pool",
      lane: "standard",
      model: "model",
      agent: `agent-${random.int(6)}`,
    } as const;
    const arrival = controller.arrive(
      { ...place, class: "normal", bytes: 4 * call.input, maxTokens: 4_096, streams: true, deadlineS: 30 },
      nowS,
    );
    if (arrival.admitted !== false) calls.set(arrival.id, call);
    at(nowS + 0.5 * random.next(), arrive);
  };
  const tick = (nowS: number) => {
    for (const [id, { startS, output, tokensPerS }] of open) {
      controller.progress(id, Math.floor(Math.min(output, tokensPerS * (nowS - startS))));
    }
    at(nowS + 0.1, tick);
  };
  const watch = (nowS: number) => {
    upstream.settle(nowS);
    const [ledger] = controller.snapshot(nowS).ledgers;
    if (ledger?.known) look({ nowS, ledger, truth: upstream.totals().levels });
    at(nowS + 1, watch);
  };
  at(0, arrive);
  at(0, tick);
  at(1, watch);
  for (let next = events.peek(); next && next.key < 600; next = events.peek()) {
    events.remove(next);
    next.item(next.key);
    for (const { id } of controller.pump(next.key).admitted) send(id, next.key);
  }
}

describe.each([1, 2, 3])("with seed %i", (seed) => {
  test("fed exactly, the mirror stays within what headers are rounded by", () => {
    let looks = 0;
    run("continuous", seed, ({ nowS, ledger, truth }) => {
      // At first it only knows what the first headers said.
      if (nowS < 10) return;
      looks += 1;
      const off = ledger.levels.map(({ level }, index) => Math.abs(level - (truth[index] ?? 0)));
      expect(off[0]).toBeLessThanOrEqual(1);
      expect(off[1]).toBeLessThanOrEqual(ROUNDING);
      expect(off[2]).toBeLessThanOrEqual(ROUNDING);
    });
    expect(looks).toBeGreaterThan(500);
  });

  test.each(["continuous", "at-end", "reserve"] as const)("charging %s is recognised, and never left again", (mode) => {
    const seen: string[] = [];
    run(mode, seed, ({ ledger }) => {
      if (seen.at(-1) !== ledger.accounting) seen.push(ledger.accounting);
    });
    expect(seen).toEqual(mode === "continuous" ? ["continuous"] : ["continuous", mode]);
  });
});
