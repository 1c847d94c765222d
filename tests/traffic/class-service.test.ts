import { describe, expect, test } from "vitest";
import { ClassService } from "../../lib/traffic/class-service.ts";
import type { ClassIndex } from "../../lib/traffic/classes.ts";

function served(service: readonly number[]): ClassService {
  const classes = new ClassService(0);
  for (const [index, cost] of service.entries()) classes.add(index as ClassIndex, cost);
  return classes;
}

const waiting =
  (...classes: number[]) =>
  (index: ClassIndex) =>
    classes.includes(index);

describe("the choice of class", () => {
  test.each<[string, number[], number[], ClassIndex, ClassIndex]>([
    ["the highest goes first", [1, 1, 1, 1], [0, 1, 2, 3], 0, 0],
    ["and the next when it is empty", [1, 1, 1, 1], [2, 3], 2, 2],
    ["a class that got less than its guarantee is owed, held to high's reserve", [0, 9, 9, 0.1], [1, 3], 3, 1],
    ["critical does not yield below 60 % of service", [5, 0, 5, 0], [0, 1, 3], 0, 0],
    ["above it does, to the one that is owed most, held to critical's reserve", [9, 0.5, 0.5, 0.4], [0, 1, 2, 3], 1, 0],
    ["nobody is owed who got the guarantee", [7, 1.5, 1, 0.5], [0, 1, 2, 3], 0, 0],
    ["nobody is owed who does not wait", [9, 0, 0, 0], [0], 0, 0],
  ])("%s", (_, service, backlog, of, gatedAs) => {
    expect(served(service).choose(waiting(...backlog))).toEqual({ class: of, gatedAs });
  });

  test("is nobody's turn when nobody waits", () => {
    expect(served([1, 1, 1, 1]).choose(() => false)).toBeNull();
  });

  test("starves no class that always waits", () => {
    const classes = new ClassService(0);
    const got = [0, 0, 0, 0];
    for (let step = 0; step < 6_000; step += 1) {
      classes.tick(step * 0.1);
      const turn = classes.choose(() => true);
      if (!turn) throw new Error("somebody waits");
      classes.add(turn.class, 0.01);
      got[turn.class] = (got[turn.class] ?? 0) + 1;
    }
    const shares = got.map((count) => count / 6_000);
    expect(shares[0]).toBeGreaterThan(0.59);
    expect(shares[1]).toBeGreaterThan(0.13);
    expect(shares[2]).toBeGreaterThan(0.08);
    expect(shares[3]).toBeGreaterThan(0.04);
  });
});
