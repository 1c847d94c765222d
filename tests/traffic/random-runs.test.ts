import { expect, test } from "vitest";
import { TRAFFIC_KINDS, World } from "./world.ts";

test.each(TRAFFIC_KINDS)(
  "whatever happens (%s), every call ends once, in order, in time, and nothing is lost",
  (kind) => {
    for (let seed = 1; seed <= 4; seed += 1) new World(kind, seed).run(150);
  },
);

test("the same seed gives the same decisions", () => {
  const first = new World("mixed", 5);
  const second = new World("mixed", 5);
  first.run(120);
  second.run(120);
  expect(second.log).toEqual(first.log);
  expect(first.log.length).toBeGreaterThan(100);
});
