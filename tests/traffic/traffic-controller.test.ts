import { beforeEach, describe, expect, test } from "vitest";
import { type TrafficClass, TrafficSnapshot } from "../../lib/traffic/schema.ts";
import { Bench, DEFAULT, LIMITS, readings, UNKNOWN } from "./controller-bench.ts";
import { teach } from "./teach.ts";

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});

describe("a call", () => {
  test("goes at once while there is room, and says that nothing held it", () => {
    const id = bench.arrive(0);
    expect(bench.admitted).toEqual([id]);
    expect(bench.explained.get(id)).toMatchObject({
      waitS: 0,
      heldBy: null,
      position: 0,
      attempts: 1,
      upstreamReason: "only",
    });
    expect(bench.wakeAtS).toBeNull();
  });

  test("waits for its limiter, goes when there is room again, and says what held it", () => {
    bench.drain(0);
    const id = bench.arrive(0, { bytes: 4 * 40_000 });
    expect(bench.admitted).not.toContain(id);
    bench.run(0, 30);
    const { waitS } = bench.explained.get(id) ?? { waitS: 0 };
    // 76,000 tokens of input (its own, and 8 % that normal calls leave) less the 20,000 that were left, at 7,500 a second.
    expect(waitS).toBeGreaterThan(6);
    expect(waitS).toBeLessThan(9);
    expect(bench.explained.get(id)).toMatchObject({ heldBy: { by: "limiter", limiter: "input_tokens" } });
  });

  test("says which class it stood behind, and how many", () => {
    bench.drain(0);
    bench.arrive(0, { class: "high", bytes: 4 * 30_000, agent: "other" });
    bench.arrive(0, { class: "high", bytes: 400, agent: "other" });
    const id = bench.arrive(0, { class: "low", bytes: 8_000, agent: "mine" });
    bench.run(0, 60);
    expect(bench.explained.get(id)).toMatchObject({ position: 2 });
    expect(bench.explained.get(id)?.heldBy).toMatchObject({ limiter: "input_tokens" });
  });

  test("of a higher class goes before all that wait", () => {
    bench.drain(0);
    const low = bench.arrive(0, { class: "low" });
    const critical = bench.arrive(1, { class: "critical", agent: "important" });
    bench.run(1, 60);
    expect(bench.admitted.indexOf(critical)).toBeLessThan(bench.admitted.indexOf(low));
  });

  test("with little input goes past one that waits for much of it, but only while output would overflow", () => {
    const outputs = [0, 1, 2].map(() => bench.arrive(0, { maxTokens: 16_384 }));
    bench.drain(0);
    bench.arrive(1, { bytes: 4 * 300_000, agent: "large" });
    const beside = bench.arrive(1, { bytes: 400, agent: "small" });
    expect(bench.admitted).toContain(beside);
    for (const id of outputs) bench.controller.progress(id, 10_000);
    const held = bench.arrive(2, { bytes: 400, agent: "small" });
    expect(bench.admitted).not.toContain(held);
  });

  test("of a lower class goes past none in a bucket of five seconds, which cannot hold the room it would take", () => {
    const small = new Bench({}, ["a"], null);
    const full = { requests: 1_000, input_tokens: 37_500, output_tokens: 7_500 };
    const limiters = ["requests", "input_tokens", "output_tokens"] as const;
    const answer = (nowS: number, of: TrafficClass, input = full.input_tokens) => {
      const id = small.arrive(nowS, { class: of, maxTokens: 20, agent: "first" });
      const remaining = { ...full, input_tokens: input };
      const limits = Object.fromEntries(
        limiters.map((name) => {
          const resetInS = Math.ceil(((full[name] - remaining[name]) * 60) / LIMITS[name]);
          return [name, { limit: LIMITS[name], remaining: remaining[name], resetInS }];
        }),
      );
      small.controller.head(id, { limits, uncachedInputTokens: 1_000, totalInputTokens: 1_000 }, nowS);
      small.controller.end(id, { ...UNKNOWN, outputTokens: 10 }, nowS);
    };
    for (let second = 0; second < 9; second += 1) answer(second, "critical");
    // Served of late, so that no turn is owed to it.
    for (let second = 9; second < 13; second += 1) answer(second, "normal");
    answer(13, "critical", 20_000);
    const large = small.arrive(13, { class: "high", bytes: 4 * 36_000, agent: "large" });
    const lower = small.arrive(13, { class: "normal", bytes: 4, agent: "lower" });
    const own = small.arrive(13, { class: "high", bytes: 4, agent: "own" });
    expect(small.admitted).not.toContain(large);
    expect(small.admitted).not.toContain(lower);
    expect(small.admitted).toContain(own);
  });

  test("waits no longer than its deadline, to the millisecond", () => {
    bench.drain(0);
    const id = bench.arrive(0, { bytes: 4 * 400_000, deadlineS: 3 });
    bench.run(0, 2.9);
    expect(bench.shed.has(id)).toBe(false);
    bench.run(2.9, 3);
    expect(bench.wakeAtS).toBeNull();
    expect(bench.shed.get(id)).toMatchObject({ reason: "deadline", status: 429, shouldRetry: true });
  });

  test("that hangs up frees its place at once, and the next goes", () => {
    bench.drain(0);
    const first = bench.arrive(0, { bytes: 4 * 400_000 });
    const second = bench.arrive(0, { bytes: 20_000, agent: "other" });
    bench.run(0, 7);
    expect(bench.admitted).not.toContain(second);
    expect(bench.controller.snapshot(7)).toMatchObject({ waiting: 2 });
    bench.controller.cancel(first, 7);
    bench.pump(7);
    expect(bench.admitted).toContain(second);
    expect(bench.controller.snapshot(7)).toMatchObject({ waiting: 0, waitingBytes: 0 });
  });

  test("that hangs up in its answer is charged what it had produced, and no more", () => {
    const id = bench.arrive(0);
    bench.controller.head(id, { limits: {}, uncachedInputTokens: 1_000, totalInputTokens: 1_000 }, 0);
    bench.controller.progress(id, 700);
    bench.controller.cancel(id, 0);
    const level = bench.controller.snapshot(0).ledgers[0]?.levels.find(({ limiter }) => limiter === "output_tokens");
    expect(level?.level).toBe(LIMITS.output_tokens - 700);
    expect(bench.controller.snapshot(0)).toMatchObject({ open: 0 });
  });

  test("that was refused for a bucket waits its own time, while others go", () => {
    const refused = bench.arrive(0, { bytes: 4 * 300_000 });
    expect(bench.refuse(refused, 0.1, { limits: readings({ input_tokens: 250_000 }) })).toBe(true);
    const other = bench.arrive(0.2, { agent: "other" });
    expect(bench.admitted).toEqual([refused, other]);
    bench.run(0.2, 5);
    expect(bench.admitted).toEqual([refused, other]);
    bench.run(5, 40);
    expect(bench.admitted).toEqual([refused, other, refused]);
    expect(bench.explained.get(refused)).toMatchObject({ attempts: 2 });
  });

  test("that a refusal shows to count more than was guessed waits until there is room for that", () => {
    const id = bench.arrive(0, { class: "critical", bytes: 4 * 10_000 });
    bench.refuse(id, 0, { retryAfterS: 1, limits: readings({ input_tokens: 14_000 }) });
    // Its 14,000 and the 18,000 that critical calls leave, less the 14,000 that are left, at 7,500 a second.
    bench.run(0, 2.3);
    expect(bench.admitted).toEqual([id]);
    bench.run(2.3, 2.5);
    expect(bench.admitted).toEqual([id, id]);
  });

  test("whose limit refuses it after its deadline is given up by the queue, and never sees the upstream's refusal", () => {
    const id = bench.arrive(0, { deadlineS: 10 });
    expect(bench.refuse(id, 10.1)).toBe(true);
    expect(bench.shed.get(id)).toMatchObject({ reason: "deadline", status: 429, shouldRetry: true });
    expect(bench.controller.snapshot(11)).toMatchObject({ waiting: 0, open: 0 });
  });

  test("gives back all that it was charged when it is refused", () => {
    const before = bench.controller.snapshot(0).ledgers[0]?.levels.map(({ level }) => level);
    const id = bench.arrive(0);
    bench.controller.refused(id, { status: 400, cause: "invalid", retryAfterS: null, limits: {} }, 0);
    expect(bench.controller.snapshot(0).ledgers[0]?.levels.map(({ level }) => level)).toEqual(before);
    expect(bench.controller.snapshot(0).queues[0]?.classes.normal.service).toBeCloseTo(0, 12);
  });

  test("that meets faults of the upstream is tried six times and then told", () => {
    const id = bench.arrive(0);
    let nowS = 0;
    let tries = 1;
    while (bench.refuse(id, nowS, { status: 529, cause: "overloaded", retryAfterS: null, limits: {} })) {
      tries += 1;
      bench.run(nowS, nowS + 10);
      nowS += 10;
    }
    expect(tries).toBe(6);
    expect(bench.controller.snapshot(nowS)).toMatchObject({ waiting: 0, open: 0 });
  });
});

describe("an upstream", () => {
  test("whose limits are unknown gets three calls, and the rest when one has answered", () => {
    bench = new Bench({}, ["a"], null);
    const ids = Array.from({ length: 8 }, () => bench.arrive(0));
    bench.run(0, 5);
    expect(bench.admitted).toEqual(ids.slice(0, 3));
    bench.controller.head(ids[0] ?? 0, { limits: readings(), uncachedInputTokens: 1_000, totalInputTokens: 1_000 }, 5);
    bench.run(5, 5.1);
    expect(bench.admitted).toEqual(ids);
  });

  test("that tells no limits gets one more call at a time for each answer", () => {
    bench = new Bench({}, ["a"], null);
    const ids = Array.from({ length: 40 }, () => bench.arrive(0));
    for (let turn = 0; bench.admitted.length < 40; turn += 1) {
      expect(turn).toBeLessThan(20);
      for (const id of bench.admitted.slice()) {
        bench.controller.head(id, { limits: {}, ...UNKNOWN }, turn);
        bench.controller.end(id, UNKNOWN, turn);
      }
      bench.run(turn, turn + 0.1);
    }
    expect(bench.admitted).toEqual(ids);
  });

  test("that tells no limits never has more than three calls unanswered, and one for each that it let in", () => {
    bench = new Bench({}, ["a"], null);
    for (let index = 0; index < 200; index += 1) bench.arrive(0);
    for (let answered = 1; answered <= 20; answered += 1) {
      const id = bench.admitted[answered - 1] ?? 0;
      // What is refused for its own sake tells nothing of the limits.
      if (answered % 2 === 0) bench.refuse(id, answered, { status: 400, cause: "invalid", limits: {} });
      else bench.controller.head(id, { limits: {}, ...UNKNOWN }, answered);
      bench.run(answered, answered + 0.5);
      expect(bench.admitted.length - answered).toBe(3 + Math.ceil(answered / 2));
    }
  });

  test("that refuses for its spend cap is stopped with all that wait, and asked again after a minute", () => {
    const out = bench.arrive(0);
    bench.drain(0);
    const waiting = bench.arrive(0, { bytes: 4 * 300_000 });
    expect(bench.refuse(out, 1, { cause: "spend_cap", retryAfterS: null })).toBe(false);
    expect(bench.shed.get(waiting)).toMatchObject({ reason: "upstream_stopped", status: 529, shouldRetry: false });
    expect(bench.controller.snapshot(1).upstreams[0]).toMatchObject({ stopped: "spend_cap" });
    expect(() => bench.arrive(2)).toThrow("upstream_stopped");
    const probe = bench.arrive(62, { bytes: 40 });
    expect(bench.admitted).toContain(probe);
    expect(() => bench.arrive(63)).toThrow("upstream_stopped");
    bench.answer(probe, 64);
    expect(bench.controller.snapshot(64).upstreams[0]).toMatchObject({ stopped: null });
    expect(bench.admitted).toContain(bench.arrive(65, { bytes: 40 }));
  });

  test.each([504, null])(
    "that gives no answer in time, with status %s, is down after five times in a row",
    (status) => {
      const late = { status, cause: "timeout", retryAfterS: null, limits: {} } as const;
      for (const id of Array.from({ length: 5 }, () => bench.arrive(0))) expect(bench.refuse(id, 60, late)).toBe(false);
      expect(bench.controller.snapshot(60).upstreams[0]).toMatchObject({ breaker: "open" });
    },
  );

  test("that answers after an outage is up, though what it says is that it takes no calls", () => {
    for (const id of Array.from({ length: 5 }, () => bench.arrive(0))) bench.fault(id, 0);
    bench.run(0, 3);
    expect(bench.controller.snapshot(3).upstreams[0]).toMatchObject({ breaker: "probing" });
    bench.refuse(bench.admitted.at(-1) ?? 0, 4, { cause: "spend_cap", retryAfterS: null });
    expect(bench.controller.snapshot(4).upstreams[0]).toMatchObject({ breaker: "closed", stopped: "spend_cap" });
    const probe = bench.arrive(70, { bytes: 40 });
    expect(bench.admitted.at(-1)).toBe(probe);
  });

  test("that is down is asked by one call at a time, whatever becomes of those that went before", () => {
    const before = bench.arrive(0, { agent: "patient" });
    for (const id of Array.from({ length: 5 }, () => bench.arrive(0))) bench.fault(id, 0);
    bench.run(0, 3);
    const sent = bench.admitted.length;
    expect(bench.controller.snapshot(3).upstreams[0]).toMatchObject({ breaker: "probing" });
    bench.controller.cancel(before, 4);
    bench.run(4, 20);
    expect(bench.admitted).toHaveLength(sent);
    bench.controller.cancel(bench.admitted.at(-1) ?? 0, 20);
    bench.run(20, 20.1);
    expect(bench.admitted).toHaveLength(sent + 1);
  });

  test("of a caller's own credential is not stopped by a key that is not valid", () => {
    const id = bench.arrive(0, { ownCredential: true });
    expect(bench.refuse(id, 1, { status: 401, cause: "authentication", retryAfterS: null, limits: {} })).toBe(false);
    expect(bench.admitted).toContain(bench.arrive(2, { ownCredential: true }));
    expect(bench.admitted).toContain(bench.arrive(2));
  });

  test("whose configured key is not valid still serves callers with one of their own, who do not start it again", () => {
    const id = bench.arrive(0);
    expect(bench.refuse(id, 1, { status: 401, cause: "authentication", retryAfterS: null, limits: {} })).toBe(false);
    expect(() => bench.arrive(2)).toThrow("upstream_stopped");
    const own = bench.arrive(2, { ownCredential: true });
    expect(bench.admitted).toContain(own);
    bench.answer(own, 3);
    expect(() => bench.arrive(4)).toThrow("upstream_stopped");
    expect(bench.admitted).toContain(bench.arrive(62));
  });

  test("that is down is tried by one call at a time, and what has waited then leaves without a stampede", () => {
    const first = Array.from({ length: 5 }, (_, index) => bench.arrive(0, { agent: `agent-${index}` }));
    for (const id of first) expect(bench.fault(id, 1)).toBe(true);
    const waiting = Array.from({ length: 200 }, (_, index) =>
      bench.arrive(1, { agent: `agent-${index}`, bytes: 400, deadlineS: 500 }),
    );
    const sentBefore = bench.admitted.length;
    bench.run(1, 60);
    const probes = bench.admitted.slice(sentBefore);
    expect(probes).toHaveLength(1);
    bench.answer(probes[0] ?? 0, 60);
    bench.run(60, 61);
    // Half a second of limit a second at first: some twenty calls of a hundred output tokens each, and not 204.
    expect(bench.admitted.length - sentBefore).toBeLessThan(60);
    bench.run(61, 300);
    expect(waiting.filter((id) => bench.admitted.includes(id)).length).toBe(200);
  });

  test("that comes back to critical calls alone gets them slowly for ten seconds, and then as it has room", () => {
    const send = (count: number) =>
      Array.from({ length: count }, (_, index) =>
        bench.arrive(0, { class: "critical", agent: `agent-${index}`, bytes: 400, deadlineS: 500 }),
      );
    for (const id of send(5)) expect(bench.fault(id, 0)).toBe(true);
    send(200);
    const sentBefore = bench.admitted.length;
    bench.run(0, 30);
    expect(bench.admitted).toHaveLength(sentBefore + 1);
    bench.answer(bench.admitted.at(-1) ?? 0, 30);
    bench.run(30, 31);
    expect(bench.admitted.length - sentBefore).toBeLessThan(20);
    bench.run(31, 45);
    expect(bench.admitted.length - sentBefore).toBe(205);
  });

  test("that fails is passed over for another, which then keeps the agent for its cache", () => {
    bench = new Bench({}, ["a", "b"]);
    const first = bench.arrive(0);
    const home = bench.upstreams.get(first);
    for (let turn = 0; turn < 20; turn += 1) {
      const id = bench.arrive(turn);
      expect(bench.upstreams.get(id)).toBe(home);
      expect(bench.explained.get(id)?.upstreamReason).toBe("cache");
      bench.answer(id, turn);
    }
    for (let fault = 0; fault < 5; fault += 1) {
      const id = bench.arrive(30);
      if (bench.upstreams.get(id) === home) expect(bench.fault(id, 30)).toBe(true);
      bench.run(30, 30.1);
    }
    const next = bench.arrive(31);
    expect(bench.upstreams.get(next)).not.toBe(home);
    bench.answer(next, 31);
    expect(bench.upstreams.get(bench.arrive(32))).toBe(bench.upstreams.get(next));
  });

  test("that has room takes the call whose prompts it has in its cache before one that would leave another's", () => {
    const pair = new Bench({}, ["a", "b"]);
    const first = ["x", "y"].map((agent) => pair.arrive(0, { agent, bytes: 4 * 20_000 }));
    expect(first.map((id) => pair.upstreams.get(id))).toEqual(["a", "b"]);
    const drains = ["x", "y"].map((agent) =>
      pair.arrive(0, { agent, class: "low", bytes: 4 * 380_000, affinity: agent }),
    );
    expect(drains.map((id) => pair.upstreams.get(id))).toEqual(["a", "b"]);
    const [other, own] = ["x", "y"].map((agent) => pair.arrive(0, { agent, bytes: 4 * 50_000 }));
    expect(pair.admitted).toHaveLength(4);
    // Of b's prompt most came from the cache: there is room for one of the two that wait.
    pair.controller.head(drains[1] ?? 0, { limits: {}, uncachedInputTokens: 330_000, totalInputTokens: 380_000 }, 0);
    pair.pump(0);
    expect(pair.admitted).toHaveLength(5);
    expect(pair.admitted).toContain(own);
    expect(pair.admitted).not.toContain(other);
  });

  test("whose output would overflow while a front waits for its input takes light calls, whatever holds the front elsewhere", () => {
    const pair = new Bench({}, ["a", "b"]);
    const drain = pair.arrive(0, { class: "critical", bytes: 4 * 430_000, agent: "drain" });
    const long = pair.arrive(0, { maxTokens: 120_000, agent: "long" });
    expect([drain, long].map((id) => pair.upstreams.get(id))).toEqual(["a", "b"]);
    pair.controller.progress(long, 110_000);
    const front = pair.arrive(1, { bytes: 4 * 60_000, agent: "front" });
    expect(pair.admitted).not.toContain(front);
    const light = pair.arrive(1, { bytes: 400, agent: "light" });
    expect(pair.upstreams.get(light)).toBe("a");
  });

  test("that has no prompts of an agent in its cache is charged its whole prompt", () => {
    const pair = new Bench({}, ["a", "b"]);
    for (let turn = 0; turn < 20; turn += 1) {
      const id = pair.arrive(0, { bytes: 40_000 });
      pair.controller.head(id, { limits: {}, uncachedInputTokens: 100, totalInputTokens: 10_000 }, 0);
      pair.controller.end(id, { ...UNKNOWN, outputTokens: 10 }, 0);
      expect(pair.upstreams.get(id)).toBe("a");
    }
    const stranger = pair.arrive(0, { agent: "stranger", class: "low", bytes: 4 * 400_000, affinity: "agent" });
    expect(pair.upstreams.get(stranger)).toBe("a");
    const moved = pair.arrive(0, { bytes: 400_000 });
    expect(pair.upstreams.get(moved)).toBe("b");
    const ledger = pair.controller.snapshot(0).ledgers.find(({ upstream }) => upstream === "b");
    expect(ledger?.levels.find(({ limiter }) => limiter === "input_tokens")?.level).toBeLessThan(360_000);
  });

  test("with a spent cap sends its calls to another at once", () => {
    bench = new Bench({}, ["a", "b"]);
    const id = bench.arrive(0);
    const home = bench.upstreams.get(id);
    expect(bench.refuse(id, 1, { cause: "spend_cap", retryAfterS: null })).toBe(true);
    expect(bench.admitted).toEqual([id, id]);
    expect(bench.upstreams.get(id)).not.toBe(home);
  });

  test("whose bucket is nearly empty is not sent all that waits before it can have refused the first", () => {
    const send = (nowS: number) =>
      Array.from({ length: 6 }, () => bench.arrive(nowS, { class: "critical", bytes: 400, agent: "important" }));
    expect(bench.admitted).toEqual(send(0));
    bench.drain(1);
    const [first = 0] = send(2);
    bench.run(2, 2.08);
    const sent = bench.admitted.length;
    expect(sent).toBeLessThanOrEqual(9);
    bench.refuse(first, 2.08, { limits: readings({ input_tokens: 0 }) });
    bench.run(2.08, 3);
    expect(bench.admitted).toHaveLength(sent);
    bench.run(3, 60);
    expect(bench.admitted).toHaveLength(14);
  });

  test("that asks for slower growth is left alone for that time, and refilled slowly", () => {
    const id = bench.arrive(0);
    expect(bench.refuse(id, 1, { cause: "acceleration", retryAfterS: 6, limits: readings() })).toBe(true);
    const next = bench.arrive(2, { agent: "other" });
    bench.run(2, 6.9);
    expect(bench.admitted).not.toContain(next);
    bench.run(6.9, 30);
    expect(bench.admitted).toContain(next);
    expect(bench.controller.snapshot(30).ledgers[0]?.rampRate).not.toBeNull();
  });
});

describe("the queue", () => {
  test("lets nobody fill it alone, and gives up the lowest class for a higher one when it is full", () => {
    bench.drain(0);
    const low: number[] = [];
    for (let index = 0; index < 10_000; index += 1)
      low.push(bench.arrive(0, { class: "low", agent: `agent-${index % 10}`, bytes: 4_000 }));
    expect(bench.controller.snapshot(0).waiting).toBe(10_000);
    expect(() => bench.arrive(0, { class: "low", agent: "one-more" })).toThrow("queue_full");
    bench.arrive(0, { class: "critical", agent: "important", bytes: 4 * 100_000 });
    expect(bench.controller.snapshot(0).waiting).toBe(10_000);
    expect([...bench.shed.keys()]).toHaveLength(1);
    expect(low).toContain([...bench.shed.keys()][0]);

    bench = new Bench();
    bench.drain(0);
    for (let index = 0; index < 2_000; index += 1) bench.arrive(0, { agent: "wild" });
    expect(() => bench.arrive(0, { agent: "wild" })).toThrow("agent_queue_full");
    bench.arrive(0, { agent: "calm" });
  });

  test("holds no more than its bytes", () => {
    bench.drain(0);
    const megabyte = 1024 * 1024;
    for (let agent = 0; agent < 8; agent += 1) {
      for (let index = 0; index < 2; index += 1) bench.arrive(0, { bytes: 16 * megabyte, agent: `agent-${agent}` });
    }
    expect(() => bench.arrive(0, { bytes: megabyte, agent: "late" })).toThrow("queue_full");
  });

  test("shares a class fairly between agents, however much each sends", () => {
    bench.drain(0);
    for (let index = 0; index < 300; index += 1) bench.arrive(0, { agent: "wild", bytes: 20_000, deadlineS: 500 });
    const calm = Array.from({ length: 10 }, () => bench.arrive(1, { agent: "calm", bytes: 20_000, deadlineS: 500 }));
    // The call that drained the bucket stays out: its answer would tell how little it counted.
    let answered = 1;
    for (let nowS = 1; calm.some((id) => !bench.admitted.includes(id)); nowS += 0.5) {
      bench.run(nowS, nowS + 0.5);
      for (; answered < bench.admitted.length; answered += 1) bench.answer(bench.admitted[answered] ?? 0, nowS + 0.5);
      expect(nowS).toBeLessThan(120);
    }
    const wild = bench.admitted.length - calm.length - 1;
    expect(wild).toBeLessThan(2 * calm.length + 3);
  });

  test("keeps an agent's calls together, though thousands of others came while one of them was out", () => {
    const limits = { requests: 100_000, input_tokens: 100_000_000, output_tokens: 100_000_000 };
    bench = new Bench({}, ["a"], limits);
    const first = bench.arrive(0, { agent: "mine" });
    for (let index = 0; index < 2_000; index += 1) bench.answer(bench.arrive(0, { agent: `agent-${index}` }), 0);
    bench.arrive(0, { agent: "drain", bytes: 4 * 99_000_000 });
    const second = bench.arrive(0, { agent: "mine", bytes: 4 * 50_000_000 });
    expect(bench.refuse(first, 0, { limits: {} })).toBe(true);
    expect(bench.controller.snapshot(0)).toMatchObject({ waiting: 2 });
    bench.controller.setModes("observe", {}, 1);
    bench.pump(1);
    expect(bench.admitted.slice(-2)).toEqual([first, second]);
  });

  test("refuses at once, when asked to, what would probably not be served in time", () => {
    bench.drain(0);
    const options = { bytes: 4 * 440_000, failFast: true, deadlineS: 10 };
    for (let index = 0; index < 3; index += 1) bench.arrive(0, options);
    bench.arrive(8, options);
    expect(() => bench.arrive(9, options)).toThrow("predicted_wait");
  });

  test("refuses what waits when the gateway shuts down", () => {
    bench.drain(0);
    const id = bench.arrive(0, { bytes: 4 * 300_000 });
    bench.controller.drain(1);
    bench.pump(1);
    expect(bench.shed.get(id)).toMatchObject({ reason: "draining", status: 529, shouldRetry: true });
    expect(() => bench.arrive(2)).toThrow("draining");
    expect(bench.wakeAtS).toBeNull();
  });

  test("keeps pools, lanes and callers' credentials apart", () => {
    bench.drain(0);
    expect(bench.admitted).not.toContain(bench.arrive(0, { bytes: 4 * 100_000 }));
    for (const other of [{ pool: "haiku-4.5" }, { lane: "fast" as const }, { group: "credential-7" }]) {
      expect(bench.admitted).toContain(bench.arrive(0, { bytes: 4 * 100_000, ...other }));
    }
  });
});

describe("a pool that is", () => {
  test("observed sends everything at once, and says what it would have held and for how long", () => {
    bench = new Bench({ mode: "observe" });
    bench.drain(0);
    const id = bench.arrive(0, { bytes: 4 * 100_000 });
    expect(bench.admitted).toContain(id);
    expect(bench.explained.get(id)).toMatchObject({
      mode: "observe",
      waitS: 0,
      heldBy: { by: "limiter", limiter: "input_tokens" },
    });
    expect(bench.explained.get(id)?.wouldWaitS).toBeGreaterThan(10);
    expect(bench.refuse(id, 1)).toBe(false);
  });

  test("off sends everything at once and judges nothing", () => {
    bench.controller.setModes("enforce", { "opus-5": "off" }, 0);
    const ids = Array.from({ length: 50 }, () => bench.arrive(0, { bytes: 4 * 400_000 }));
    expect(bench.admitted).toEqual(ids);
    expect(bench.refuse(ids[0] ?? 0, 1)).toBe(false);
    for (const id of ids.slice(1)) bench.answer(id, 2);
    expect(bench.controller.snapshot(2)).toMatchObject({ open: 0 });
  });

  test.each(["observe", "off"] as const)("set to %s while calls wait lets all of them go at once", (mode) => {
    bench.drain(0);
    const waiting = Array.from({ length: 40 }, (_, index) =>
      bench.arrive(0, { bytes: 4 * 100_000, class: index % 2 === 0 ? "high" : "low", agent: `agent-${index % 3}` }),
    );
    bench.run(0, 3);
    expect(bench.controller.snapshot(3).waiting).toBe(40);
    bench.controller.setModes(mode, {}, 3);
    bench.pump(3);
    expect([...bench.admitted.slice(1)].sort((a, b) => a - b)).toEqual(waiting);
    expect(bench.wakeAtS).toBeNull();
    expect(bench.controller.snapshot(3)).toMatchObject({ mode, waiting: 0, waitingBytes: 0, open: 41 });
    for (const id of waiting) {
      expect(bench.explained.get(id)).toMatchObject({ mode, waitS: 3, attempts: 1, heldBy: expect.anything() });
      bench.answer(id, 4);
    }
    expect(bench.controller.snapshot(4)).toMatchObject({ open: 1, counts: { canceled: 0 } });
    expect(bench.arrive(5, { bytes: 4 * 400_000 })).toBe(bench.admitted.at(-1));
  });

  test("set to observe says of what waited how long it would have waited in all", () => {
    bench.drain(0);
    const id = bench.arrive(0, { bytes: 4 * 100_000 });
    bench.run(0, 3);
    bench.controller.setModes("observe", {}, 3);
    bench.pump(3);
    expect(bench.explained.get(id)?.wouldWaitS).toBeGreaterThan(10);
  });

  test("set to observe sends at once even what its upstream had asked to see later", () => {
    const id = bench.arrive(0);
    expect(bench.refuse(id, 1, { retryAfterS: 60 })).toBe(true);
    bench.controller.setModes("observe", {}, 2);
    bench.pump(2);
    expect(bench.admitted).toEqual([id, id]);
    expect(bench.explained.get(id)).toMatchObject({ mode: "observe", attempts: 2, waitS: 2 });
  });

  test("observed keeps an agent at the upstream that has its prompts in the cache, room or not", () => {
    bench = new Bench({ mode: "observe" }, ["a", "b"]);
    bench.drain(0);
    const home = bench.upstreams.get(bench.arrive(0, { bytes: 4 * 300_000, agent: "regular" }));
    expect(home).not.toBe(bench.upstreams.get(bench.admitted[0] ?? 0));
    const held = bench.arrive(0, { bytes: 4 * 300_000, agent: "regular" });
    expect(bench.explained.get(held)?.wouldWaitS).toBeGreaterThan(0);
    expect(bench.upstreams.get(held)).toBe(home);
  });

  test("set back to enforce holds again, what is out stays out, and what comes back waits", () => {
    bench.controller.setModes("observe", {}, 0);
    const out = Array.from({ length: 3 }, () => bench.arrive(0, { bytes: 4 * 300_000 }));
    expect(bench.admitted).toEqual(out);
    bench.controller.setModes("enforce", {}, 1);
    const next = bench.arrive(1, { bytes: 4 * 100_000 });
    expect(bench.admitted).not.toContain(next);
    expect(bench.refuse(out[0] ?? 0, 2)).toBe(true);
    expect(bench.controller.snapshot(2)).toMatchObject({ waiting: 2, open: 2 });
  });

  test("named by itself is treated so until its entry is removed, and the others as all", () => {
    const other = { pool: "haiku-4.5" };
    teach(bench.controller, { ...DEFAULT, upstream: "a", ...other }, LIMITS);
    bench.controller.setModes("observe", { "opus-5": "enforce" }, 0);
    bench.drain(0);
    bench.arrive(0, { ...other, bytes: 4 * 430_000, agent: "drain" });
    const held = bench.arrive(0, { bytes: 4 * 300_000 });
    expect(bench.admitted).not.toContain(held);
    expect(bench.admitted).toContain(bench.arrive(0, { ...other, bytes: 4 * 300_000 }));
    expect(bench.controller.snapshot(0)).toMatchObject({ mode: "observe", poolModes: { "opus-5": "enforce" } });
    bench.controller.setModes("observe", {}, 1);
    bench.pump(1);
    expect(bench.admitted).toContain(held);
  });

  test("named after a word that every object knows is treated as all", () => {
    bench.controller.setModes("observe", {}, 0);
    expect(bench.explained.get(bench.arrive(0, { pool: "constructor" }))).toMatchObject({ mode: "observe" });
  });

  test.each(["observe", "off"] as const)("under %s goes on though its upstream is stopped", (mode) => {
    bench.controller.setModes(mode, {}, 0);
    expect(bench.refuse(bench.arrive(0), 1, { cause: "spend_cap", retryAfterS: null })).toBe(false);
    const next = bench.arrive(2);
    expect(bench.admitted).toContain(next);
    expect(bench.refuse(next, 3, { cause: "spend_cap", retryAfterS: null })).toBe(false);
    expect(bench.controller.snapshot(3)).toMatchObject({ open: 0 });
  });

  test.each(["observe", "off"] as const)("under %s loses no call to a shutdown", (mode) => {
    bench.controller.setModes(mode, {}, 0);
    bench.drain(0);
    bench.controller.drain(1);
    expect(bench.admitted).toContain(bench.arrive(1, { bytes: 4 * 300_000 }));
    expect(bench.shed.size).toBe(0);
  });
});

describe("the snapshot", () => {
  test("shows queues, levels, reserves and upstreams in the shape of the API", () => {
    bench.drain(0);
    bench.arrive(0, { bytes: 4 * 300_000 });
    const snapshot = TrafficSnapshot.parse(bench.controller.snapshot(3));
    expect(snapshot.queues[0]?.classes.normal).toMatchObject({ waiting: 1, oldestWaitS: 3 });
    expect(snapshot.ledgers[0]).toMatchObject({ known: true, accounting: "continuous", openStreams: 1 });
    expect(snapshot.ledgers[0]?.levels.map(({ limiter }) => limiter)).toEqual([
      "requests",
      "input_tokens",
      "output_tokens",
    ]);
    expect(snapshot.upstreams).toEqual([{ upstream: "a", breaker: "closed", probeInS: null, stopped: null }]);
    expect(snapshot.counts).toMatchObject({ arrived: 3, admitted: 2 });
  });
});

test("answers that never end give their room back after two hours, and unused pools are forgotten", () => {
  bench.arrive(0);
  bench.arrive(0, { group: "credential-1" });
  expect(bench.controller.snapshot(0)).toMatchObject({ open: 2 });
  bench.pump(7_300);
  expect(bench.controller.snapshot(7_300)).toMatchObject({ open: 0 });
  bench.pump(20_000);
  expect(bench.controller.snapshot(20_000).queues).toEqual([]);
});

describe("models that somebody made up", () => {
  const unknown = { status: 404, cause: "not_found", retryAfterS: null, limits: {} } as const;
  const ask = (pool: string, nowS: number) => bench.arrive(nowS, { pool, model: pool });
  const sizes = (nowS: number) => {
    const { queues, ledgers } = bench.controller.snapshot(nowS);
    return { queues: queues.length, ledgers: ledgers.length };
  };

  test("are some hundreds at most at a time, and forgotten within two minutes", () => {
    for (let index = 0; index < 10_000; index += 1) bench.refuse(ask(`made-up-${index}`, 0), 0, unknown);
    // What is known, and what came beyond the hundreds in one.
    expect(sizes(0).queues).toBeLessThanOrEqual(300);
    expect(sizes(0).ledgers).toBeLessThanOrEqual(300);
    expect(bench.controller.snapshot(0)).toMatchObject({ waiting: 0, open: 0, counts: { admitted: 10_001 } });
    bench.pump(61);
    bench.pump(122);
    expect(sizes(122)).toEqual({ queues: 1, ledgers: 1 });
  });

  test("take no place from one that an upstream answers for, though no table has it", () => {
    bench.answer(ask("claude-next", 0), 0);
    for (let index = 0; index < 1_000; index += 1) bench.refuse(ask(`made-up-${index}`, 0), 0, unknown);
    const slow = ask("made-up-0", 0);
    bench.pump(61);
    bench.pump(122);
    const pools = bench.controller.snapshot(122).queues.map(({ pool }) => pool);
    expect(pools).toEqual(["opus-5", "claude-next", "made-up-0"]);
    bench.answer(slow, 122);
    bench.pump(1_000);
    expect(bench.controller.snapshot(1_000).queues.map(({ pool }) => pool)).toEqual(pools);
  });
});

test("a thousand calls that arrive together leave one by one as the buckets refill", () => {
  const ids = Array.from({ length: 1_000 }, (_, index) =>
    bench.arrive(0, { agent: `agent-${index % 50}`, bytes: 8_000, deadlineS: 500 }),
  );
  const sent: number[] = [bench.admitted.length];
  for (let nowS = 0; nowS < 400; nowS += 1) {
    bench.run(nowS, nowS + 1);
    for (const id of bench.admitted.slice(sent.at(-2) ?? 0, sent.at(-1))) bench.answer(id, nowS + 1, 400);
    sent.push(bench.admitted.length);
  }
  expect(new Set(bench.admitted).size).toBe(bench.admitted.length);
  expect(ids.every((id) => bench.admitted.includes(id))).toBe(true);
  const steps = sent.slice(2).map((count, index) => count - (sent[index + 1] ?? 0));
  // A minute of limit may go at once; after that a second of limit a second, which is some four of these calls.
  expect(Math.max(...steps.slice(80))).toBeLessThan(40);
});
