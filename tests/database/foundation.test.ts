import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await openTestDatabase();
});
afterAll(() => db.close());

test("a setting is kept, replaced and removed", async () => {
  const Settings = z.object({ settings: z.record(z.string(), z.unknown()) });
  const set = (value: unknown) => db.database.call("settings_set", { name: "tier", value }, Settings);
  expect(await set("build")).toEqual({ settings: { tier: "build" } });
  expect(await set({ id: 2 })).toEqual({ settings: { tier: { id: 2 } } });
  expect(await set(null)).toEqual({ settings: {} });
  expect(await db.database.call("settings_get", {}, Settings)).toEqual({ settings: {} });
});
