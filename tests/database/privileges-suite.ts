import { expect, test } from "vitest";
import type { Open } from "./suite.ts";

export function privilegesSuite(open: Open): void {
  test("nobody but service_role may execute any function, and it may execute all", async () => {
    const functions = await open().sql(`
      select p.proname as name, p.prosecdef as definer, coalesce(p.proconfig::text, '') as config,
        has_function_privilege('anon', p.oid, 'execute') as anon,
        has_function_privilege('authenticated', p.oid, 'execute') as authenticated,
        has_function_privilege('service_role', p.oid, 'execute') as service_role,
        exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0) as everybody
      from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname not like 'contract\\_%'`);
    expect(functions.length).toBeGreaterThan(20);
    for (const { name, config, ...rest } of functions) {
      expect({ name, ...rest }).toEqual({
        name,
        definer: true,
        anon: false,
        authenticated: false,
        service_role: true,
        everybody: false,
      });
      expect(`${name}: ${config}`).toContain("search_path=");
    }
  });

  test("no function is overloaded or returns a set", async () => {
    const faults = await open().sql(`
      select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname not like 'contract\\_%'
      group by p.proname having count(*) > 1 or bool_or(p.proretset) or bool_or(p.prorettype <> 'jsonb'::regtype)`);
    expect(faults).toEqual([]);
  });

  test("no table lies in public, and every table of ours has row level security on, partitions too", async () => {
    const { sql, database } = open();
    await database.call("calls_any", {}, (await import("zod")).z.unknown());
    expect(
      await sql(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')",
      ),
    ).toEqual([]);
    expect(
      await sql(`select relname from pg_class where relnamespace = 'gateway'::regnamespace and relkind in ('r', 'p')
                 and not relrowsecurity`),
    ).toEqual([]);
  });

  test("service_role itself reaches no table", async () => {
    const tables = await open().sql(`
      select relname from pg_class where relnamespace = 'gateway'::regnamespace and relkind in ('r', 'p')
        and (has_table_privilege('service_role', oid, 'select') or has_table_privilege('anon', oid, 'select'))`);
    expect(tables).toEqual([]);
  });
}
