import { describe, expect, test } from "vitest";
import type { ClassIndex } from "../../lib/traffic/classes.ts";
import { IN, OUT, REQ } from "../../lib/traffic/dimensions.ts";
import { Estimator } from "../../lib/traffic/estimator.ts";
import { type Demand, findObstacle, type GateView } from "../../lib/traffic/gate.ts";
import { Ledger } from "../../lib/traffic/ledger.ts";
import { OpenStreams } from "../../lib/traffic/open-streams.ts";
import { Reserves } from "../../lib/traffic/reserves.ts";
import { Random } from "../support/random.ts";

type State = { req: number; in: number; out: number; streams: number[]; accounting?: Ledger["accounting"] };

function viewOf(state: State, bursts = 0): GateView {
  const ledger = new Ledger(0);
  ledger.setLimit(REQ, 1_000, state.req);
  ledger.setLimit(IN, 450_000, state.in);
  ledger.setLimit(OUT, 90_000, state.out);
  ledger.accounting = state.accounting ?? "continuous";
  const streams = new OpenStreams(ledger);
  const shape = new Estimator().of("a", "m");
  for (const expected of state.streams) streams.begin(shape, 16_384, true, expected, 0);
  const reserves = new Reserves(ledger, 0);
  for (let call = 0; call < bursts; call += 1) reserves.arrive(0, 2_000, 1_000, 0.1 * call);
  return { ledger, streams, reserves, standing: 0 };
}

function demand(of: ClassIndex, input = 1_000, output = 500): Demand {
  return { class: of, input, output, maxTokens: 8_192, tokensPerS: 60 };
}

const FULL: State = { req: 1_000, in: 450_000, out: 90_000, streams: [500] };

describe("the gate", () => {
  test.each<[string, Partial<State>, ClassIndex, string | null]>([
    ["a full pool lets anything go", {}, 3, null],
    ["requests keep 10 % from low", { req: 100 }, 3, "requests"],
    ["which critical may use", { req: 100 }, 0, null],
    ["but not the last 2 %", { req: 20 }, 0, "requests"],
    ["input keeps 10 % from low", { in: 45_500 }, 3, "input_tokens"],
    ["which critical may use", { in: 45_500 }, 0, null],
    ["output keeps 18 % from low", { out: 16_000 }, 3, "output_tokens"],
    ["14.4 % from normal", { out: 12_900 }, 2, "output_tokens"],
    ["10.2 % from high", { out: 9_100 }, 1, "output_tokens"],
    ["2 % from critical", { out: 1_700 }, 0, "output_tokens"],
    ["debt lets nobody go", { out: -5_000 }, 0, "output_tokens"],
    [
      "what open streams will drain counts before it is gone",
      { out: 40_000, streams: Array(40).fill(4_000) },
      2,
      "output_tokens",
    ],
    ["though critical looks only two seconds ahead", { out: 40_000, streams: Array(40).fill(4_000) }, 0, null],
  ])("%s", (_, change, of, limiter) => {
    expect(findObstacle(viewOf({ ...FULL, ...change }), demand(of), of)?.limiter ?? null).toBe(limiter);
  });

  test("lets a prompt go that is larger than the bucket, once the bucket is full", () => {
    expect(findObstacle(viewOf(FULL), demand(2, 900_000), 2)).toBeNull();
    expect(findObstacle(viewOf({ ...FULL, in: 430_000 }), demand(2, 900_000), 2)?.limiter).toBe("input_tokens");
  });

  test("keeps room for critical's next burst from others, not from critical", () => {
    const tight = { ...FULL, out: 34_000, streams: Array(10).fill(1_000) };
    expect(findObstacle(viewOf(tight), demand(1), 1)).toBeNull();
    expect(findObstacle(viewOf(tight, 30), demand(1), 1)).not.toBeNull();
    expect(findObstacle(viewOf(tight, 30), demand(0), 0)).toBeNull();
  });

  test("asks for the whole of max_tokens where the upstream takes it in advance", () => {
    const view = viewOf({ ...FULL, out: 9_000, streams: [], accounting: "reserve" });
    expect(findObstacle(view, demand(0), 0)).toBeNull();
    expect(findObstacle(view, { ...demand(0), maxTokens: 16_384 }, 0)).toMatchObject({ limiter: "output_tokens" });
  });

  test.each([{ limits: [1, 500, 100] }, { limits: [1_000, 450_000, 3_000] }, { limits: [50, 30_000, 8_000] }])(
    "sooner or later lets any single call go through an idle upstream: %o",
    ({ limits }) => {
      const random = new Random(4);
      for (let run = 0; run < 200; run += 1) {
        const ledger = new Ledger(0);
        for (const dimension of [REQ, IN, OUT] as const)
          ledger.setLimit(dimension, limits[dimension] ?? 1, -random.int(50));
        const reserves = new Reserves(ledger, 0);
        for (let call = 0; call < 20; call += 1) reserves.arrive(0, 5_000, 2_000, call / 100);
        const view = { ledger, streams: new OpenStreams(ledger), reserves, standing: random.next() };
        ledger.refill(3_600);
        const of = random.int(4) as ClassIndex;
        expect(findObstacle(view, demand(of, random.int(200_000), 20 + random.int(8_000)), of)).toBeNull();
      }
    },
  );

  test("never refuses for more room, fewer streams, or a smaller call", () => {
    const random = new Random(9);
    let passes = 0;
    for (let run = 0; run < 600; run += 1) {
      const state: State = {
        req: random.int(200),
        in: random.int(200_000),
        out: random.int(60_000),
        streams: Array.from({ length: 1 + random.int(30) }, () => random.int(4_000)),
      };
      const of = random.int(4) as ClassIndex;
      const asked = demand(of, random.int(60_000), random.int(3_000));
      if (findObstacle(viewOf(state, 5), asked, of)) continue;
      passes += 1;
      const easier = [
        [{ ...state, req: state.req + 50 }, asked],
        [{ ...state, in: state.in + 9_000 }, asked],
        [{ ...state, out: state.out + 9_000 }, asked],
        [{ ...state, streams: state.streams.slice(0, Math.max(1, state.streams.length >> 1)) }, asked],
        [state, { ...asked, input: asked.input / 2 }],
        [state, { ...asked, output: asked.output / 2 }],
      ] as const;
      for (const [view, call] of easier) expect(findObstacle(viewOf(view, 5), call, of)).toBeNull();
    }
    expect(passes).toBeGreaterThan(60);
  });
});
