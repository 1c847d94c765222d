import { expect, test } from "vitest";
import { IndexedHeap } from "../../lib/traffic/indexed-heap.ts";
import { CLASSES, type TrafficClass } from "../../lib/traffic/schema.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { UpstreamModel } from "../bench/admission-upstream.ts";
import { Random } from "../support/random.ts";

type Limits = readonly [requests: number, input: number, output: number];
const REAL: Limits = [100, 45_000, 20_000];
const TENFOLD: Limits = [1_000, 450_000, 200_000];
const OUTPUT = 60;
const UNTIL_S = 1_800;
const WARM_UP_S = 300;

/**
 * Calls for twice its limit before an upstream that never tells one: what it served of what it could, and the share of
 * attempts that it refused, after the first five minutes, and how many it refused in these.
 */
function run(expected: Limits | null, options: { real?: Limits; load?: number; of?: readonly TrafficClass[] } = {}) {
  const { real = REAL, load = 2, of = CLASSES } = options;
  const callsPerMinute = Math.min(real[0], real[2] / OUTPUT);
  const random = new Random(7);
  const controller = new TrafficController({ random: () => random.next() });
  if (expected) {
    const [requests, input_tokens, output_tokens] = expected;
    controller.expectLimits(() => ({ requests, input_tokens, output_tokens }));
  }
  const upstream = new UpstreamModel(
    {
      ...{ limits: real, burstS: 60, accounting: "continuous", fullThenAdjust: false, acceleration: false },
      ...{ storm: null, limitChange: null },
    },
    () => random.next(),
  );
  const events = new IndexedHeap<(nowS: number) => void>();
  const counts = { sent: 0, refused: 0, refusedAtFirst: 0, served: 0 };
  const at = (timeS: number, what: (nowS: number) => void) => events.push(timeS, what);
  const isMeasured = (nowS: number) => nowS >= WARM_UP_S;
  let wokenS = -1;
  const send = (id: number, nowS: number) => {
    const call = { input: 150, uncached: 150, output: OUTPUT, maxTokens: 400, tokensPerS: 60, foreign: false };
    const verdict = upstream.admit(call, nowS);
    if (isMeasured(nowS)) counts.sent += 1;
    if (!verdict.ok) {
      if (isMeasured(nowS)) counts.refused += 1;
      else counts.refusedAtFirst += 1;
      const { status, cause, retryAfterS } = verdict;
      at(nowS + 0.08, (atS) => controller.refused(id, { status, cause, retryAfterS, limits: {} }, atS));
      return;
    }
    if (isMeasured(nowS)) counts.served += 1;
    const input = { uncachedInputTokens: call.uncached, totalInputTokens: call.input };
    at(nowS + 0.5, (atS) => {
      upstream.begin(verdict.open, atS);
      controller.head(id, { limits: {}, ...input }, atS);
    });
    at(nowS + 1.5, (atS) => {
      upstream.end(verdict.open, atS);
      controller.end(id, { ...input, outputTokens: call.output }, atS);
    });
  };
  const arrive = (nowS: number) => {
    const agent = random.int(8);
    controller.arrive(
      {
        ...{ group: "a", pool: "pool", lane: "standard", class: of[agent % of.length] ?? "normal", model: "model" },
        ...{ agent: `agent-${agent}`, bytes: 600, maxTokens: 400, streams: true, deadlineS: 60 },
      },
      nowS,
    );
    if (nowS < UNTIL_S) at(nowS + (2 * random.next() * 60) / (load * callsPerMinute), arrive);
  };
  at(0, arrive);
  for (let next = events.peek(); next && next.key < UNTIL_S; next = events.peek()) {
    events.remove(next);
    next.item(next.key);
    const { admitted, wakeAtS } = controller.pump(next.key);
    for (const { id } of admitted) send(id, next.key);
    if (wakeAtS !== null && (wokenS <= next.key || wakeAtS < wokenS)) {
      wokenS = wakeAtS;
      at(wakeAtS, () => {});
    }
  }
  const servable = Math.min(load, 1) * callsPerMinute * ((UNTIL_S - WARM_UP_S) / 60);
  const refusedShare = counts.refused / counts.sent;
  return { goodput: counts.served / servable, refusedShare, refusedAtFirst: counts.refusedAtFirst };
}

test.each([
  ["a tenth of what is expected", TENFOLD, {}],
  ["a tenth, and all calls are critical", TENFOLD, { of: ["critical"] }],
  ["a tenth, in output", TENFOLD, { real: [1_000, 450_000, 6_000] }],
  ["a tenth and calls come for a fifth more", TENFOLD, { load: 1.2 }],
  ["unknown", null, {}],
  ["unknown and calls come ten times as many", null, { load: 10 }],
  ["just as expected", REAL, {}],
  ["expected and nearly used", TENFOLD, { real: TENFOLD, load: 0.9 }],
] as const)("limits that no header tells are found by refusals where they are %s", (_, expected, options) => {
  const { goodput, refusedShare, refusedAtFirst } = run(expected, options);
  expect(goodput).toBeGreaterThan(0.95);
  expect(refusedShare).toBeLessThan(0.015);
  expect(refusedAtFirst).toBeLessThan(40);
});
