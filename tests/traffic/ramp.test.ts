import { describe, expect, test } from "vitest";
import { CircuitBreaker } from "../../lib/traffic/breaker.ts";
import { ACCELERATION_CUT, OVERLOAD_CUT, Ramp } from "../../lib/traffic/ramp.ts";
import { Random } from "../support/random.ts";

describe("the ramp", () => {
  test("is off until it is cut, and lets everything through", () => {
    const ramp = new Ramp(0);
    expect(ramp.isOn).toBe(false);
    expect(ramp.allows(1_000, false)).toBe(true);
  });

  test("begins where sending was, and grows by a quarter every five seconds", () => {
    const ramp = new Ramp(0);
    for (let second = 0; second < 60; second += 1) ramp.send(1, second);
    ramp.cut(ACCELERATION_CUT, 60);
    const first = ramp.rate;
    expect(first).toBeGreaterThan(0.6);
    expect(first).toBeLessThan(0.75);
    ramp.tick(65);
    expect(ramp.rate).toBeCloseTo(1.25 * first, 6);
    ramp.tick(600);
    expect(ramp.rate).toBe(1.5);
    ramp.tick(660);
    expect(ramp.isOn).toBe(false);
  });

  test("doubles every five seconds after an overload, for nothing was said against growth", () => {
    const ramp = new Ramp(0);
    for (let cut = 0; cut < 20; cut += 1) ramp.cut(OVERLOAD_CUT, 2 * cut);
    expect(ramp.rate).toBe(0.25);
    ramp.tick(48);
    expect(ramp.rate).toBe(1);
    ramp.tick(98);
    expect(ramp.isOn).toBe(false);
  });

  test("grows as carefully as the upstream has asked, through an overload too", () => {
    const ramp = new Ramp(0);
    ramp.cut(ACCELERATION_CUT, 0);
    ramp.cut(OVERLOAD_CUT, 10);
    const { rate } = ramp;
    ramp.tick(15);
    expect(ramp.rate).toBeCloseTo(1.25 * rate, 6);
    ramp.tick(610);
    ramp.cut(OVERLOAD_CUT, 700);
    ramp.tick(705);
    expect(ramp.rate).toBe(0.5);
  });

  test("takes the refusals of two seconds for one sign", () => {
    const ramp = new Ramp(0);
    ramp.cut(ACCELERATION_CUT, 0);
    const { rate } = ramp;
    for (const nowS of [0.1, 0.5, 1.9]) ramp.cut(ACCELERATION_CUT, nowS);
    expect(ramp.rate).toBe(rate);
  });

  test("lets a large call go on one and a half seconds of limit, and pays for it after", () => {
    const ramp = new Ramp(0);
    ramp.restart(1, 60, 0);
    expect(ramp.allows(20, false)).toBe(false);
    ramp.tick(1.5);
    expect(ramp.allows(20, false)).toBe(true);
    ramp.send(20, 1.5);
    ramp.tick(4);
    expect(ramp.allows(0.1, false)).toBe(false);
  });

  test("gathers nothing while the upstream wants silence", () => {
    const ramp = new Ramp(0);
    ramp.restart(1, 60, 0);
    ramp.rest(10);
    ramp.tick(10);
    expect(ramp.allows(0.1, false)).toBe(false);
    ramp.tick(10.2);
    expect(ramp.allows(0.1, false)).toBe(true);
    expect(ramp.allows(0.3, false)).toBe(false);
  });

  test("stays within its bounds whatever happens, and always comes off", () => {
    const random = new Random(6);
    const ramp = new Ramp(0);
    let nowS = 0;
    for (let step = 0; step < 5_000; step += 1) {
      nowS += random.next();
      ramp.tick(nowS);
      const what = random.int(50);
      if (what === 0) ramp.cut(ACCELERATION_CUT, nowS);
      if (what === 1) ramp.cut(OVERLOAD_CUT, nowS);
      if (what > 25) ramp.send(random.next(), nowS);
      if (ramp.isOn) {
        expect(ramp.rate).toBeGreaterThanOrEqual(0.1);
        expect(ramp.rate).toBeLessThanOrEqual(1.5);
      }
    }
    ramp.tick(nowS + 601);
    expect(ramp.isOn).toBe(false);
  });
});

describe("the circuit breaker", () => {
  test("opens on the fifth fault in a row, probes with one call, and closes on the first success", () => {
    const breaker = new CircuitBreaker();
    for (let fault = 0; fault < 4; fault += 1) breaker.fail(fault, 0, 0);
    expect(breaker.allows(0)).toBe(true);
    breaker.fail(4, 0, 0);
    expect(breaker.state).toBe("open");
    expect(breaker.allows(0.9)).toBe(false);
    expect(breaker.allows(1)).toBe(true);
    breaker.send(9, 1);
    expect(breaker.allows(1.1)).toBe(false);
    expect(breaker.succeed()).toBe(true);
    expect(breaker.state).toBe("closed");
    expect(breaker.allows(1.2)).toBe(true);
  });

  test("waits twice as long after each failed probe, up to half a minute", () => {
    const breaker = new CircuitBreaker();
    for (let fault = 0; fault < 5; fault += 1) breaker.fail(fault, 0, 0);
    const waits: number[] = [];
    let nowS = 0;
    for (let probe = 0; probe < 7; probe += 1) {
      waits.push((breaker.probeAtS ?? 0) - nowS);
      nowS = breaker.probeAtS ?? 0;
      breaker.send(probe, nowS);
      breaker.fail(probe, nowS, 0);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 30, 30]);
  });

  test("is not opened by faults with successes between them", () => {
    const breaker = new CircuitBreaker();
    for (let call = 0; call < 100; call += 1) {
      if (call % 5 === 4) breaker.succeed();
      else breaker.fail(call, call, 0);
    }
    expect(breaker.state).toBe("closed");
  });

  test("lets another call probe when the probe's caller hangs up", () => {
    const breaker = new CircuitBreaker();
    for (let fault = 0; fault < 5; fault += 1) breaker.fail(fault, 0, 0);
    breaker.send(9, 1);
    breaker.abandon(9, 2);
    expect(breaker.allows(2)).toBe(true);
  });

  test("keeps the one probe out whatever becomes of calls that went before it", () => {
    const breaker = new CircuitBreaker();
    for (let fault = 0; fault < 5; fault += 1) breaker.fail(fault, 0, 0);
    breaker.send(9, 1);
    breaker.abandon(5, 2);
    breaker.fail(6, 2, 0);
    expect(breaker.state).toBe("probing");
    expect(breaker.allows(20)).toBe(false);
    // Sent where none is held: it does not take the probe's part.
    breaker.send(10, 3);
    breaker.fail(9, 4, 0);
    expect(breaker.state).toBe("open");
  });
});
