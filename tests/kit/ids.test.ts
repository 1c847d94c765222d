import { expect, test } from "vitest";
import { createId } from "../../lib/kit/ids.ts";

test("ids are version 7 UUIDs, in order of time, and never the same", () => {
  const ids = Array.from({ length: 5_000 }, (_, index) => createId(1_000_000 + index));
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids.map((id) => id.slice(14))).size).toBe(ids.length);
});
