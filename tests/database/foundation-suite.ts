import { expect, test } from "vitest";
import { z } from "zod";
import type { Open } from "./suite.ts";

const Settings = z.object({ settings: z.record(z.string(), z.unknown()) });
const Lease = z.object({ held: z.boolean(), holder: z.string(), until: z.string() });

export function foundationSuite(open: Open): void {
  test("a setting is kept, replaced and removed", async () => {
    const { database } = open();
    const set = (value: unknown) => database.call("settings_set", { name: "tier", value }, Settings);
    expect(await set("build")).toEqual({ settings: { tier: "build" } });
    expect(await set({ id: 2 })).toEqual({ settings: { tier: { id: 2 } } });
    expect(await set(null)).toEqual({ settings: {} });
    expect(await database.call("settings_get", {}, Settings)).toEqual({ settings: {} });
  });

  test("a lease has one holder, who renews it, until it runs out or is given back", async () => {
    const { database, sql } = open();
    const claim = (holder: string) =>
      database.call("leases_claim", { lease_name: "evaluator", holder, ttl_seconds: 60 }, Lease);
    expect(await claim("a")).toMatchObject({ held: true, holder: "a" });
    expect(await claim("b")).toMatchObject({ held: false, holder: "a" });
    expect(await claim("a")).toMatchObject({ held: true });

    await sql("update gateway.leases set held_until = now() - interval '1 second' where name = 'evaluator'");
    expect(await claim("b")).toMatchObject({ held: true, holder: "b" });

    const release = (holder: string) =>
      database.call("leases_release", { lease_name: "evaluator", holder }, z.object({ released: z.boolean() }));
    expect(await release("a")).toEqual({ released: false });
    expect(await release("b")).toEqual({ released: true });
    expect(await claim("a")).toMatchObject({ held: true, holder: "a" });
  });

  test("of many who claim a free lease at once one gets it", async () => {
    const { database } = open();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        database.call("leases_claim", { lease_name: "race", holder: `holder-${index}`, ttl_seconds: 60 }, Lease),
      ),
    );
    expect(answers.filter(({ held }) => held)).toHaveLength(1);
    expect(new Set(answers.map(({ holder }) => holder)).size).toBe(1);
  });

  test("the state names the newest migration", async () => {
    const { database, sql } = open();
    const [newest] = await sql("select max(version) as version from supabase_migrations.schema_migrations");
    const state = await database.call(
      "database_state",
      {},
      z.object({ migration: z.string(), at: z.iso.datetime(), postgres: z.string() }),
    );
    expect(state.migration).toBe(newest?.version);
    expect(state.postgres).toMatch(/^1[5-9]|^[2-9]\d/);
  });
}
