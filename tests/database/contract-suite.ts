import { beforeAll, describe, expect, test, vi } from "vitest";
import type { Open } from "./suite.ts";

/** Functions that no migration has: they exist to be called in every way that PostgREST knows. */
const FUNCTIONS = `
create function public.contract_scalar(a int, b int default 10) returns int language sql as $$ select a + b $$;
create function public.contract_json(value jsonb) returns jsonb language sql as $$ select jsonb_build_object('got', value) $$;
create function public.contract_set() returns setof int language sql as $$ select generate_series(1, 2504) $$;
create function public.contract_rows() returns table (n int, t text) language sql as $$ values (1, 'a'), (2, 'b') $$;
create function public.contract_array(list int[]) returns int language sql as $$ select sum(v)::int from unnest(list) v $$;
create function public.contract_void(value text) returns void language sql as $$ select $$;
create function public.contract_time(at timestamptz) returns bigint language sql as $$ select extract(epoch from at)::bigint $$;
create function public.contract_null() returns jsonb language sql as $$ select null::jsonb $$;
create function public.contract_text(value text) returns text language sql as $$ select value $$;
create function public.contract_raise(state text) returns jsonb language plpgsql as
  $$ begin raise exception 'no, not that' using errcode = state, detail = 'the detail', hint = 'the hint'; end $$;
create function public.contract_twice() returns jsonb language plpgsql security definer as $$
begin
  insert into gateway.settings values ('contract', '1');
  insert into gateway.settings values ('contract', '2');
  return 'null';
end $$;
create function public.contract_kept(value text) returns jsonb language plpgsql security definer as $$
begin
  insert into gateway.settings values ('kept', to_jsonb(value)) on conflict (name) do update set value = excluded.value;
  if value = 'fail' then raise exception 'undone'; end if;
  return to_jsonb(value);
end $$;
create function public.contract_secret() returns int language sql as $$ select 1 $$;
revoke execute on function public.contract_secret() from public, service_role;
create function public.contract_missing_table() returns int language plpgsql as
  $$ declare n int; begin execute 'select count(*) from nowhere' into n; return n; end $$;
notify pgrst, 'reload schema';
`;

type Case = {
  name: string;
  rpc: string;
  args?: Record<string, unknown>;
  status: number;
  code?: string;
  data?: unknown;
};

const CASES: Case[] = [
  { name: "a scalar", rpc: "contract_scalar", args: { a: 1, b: 2 }, status: 200, data: 3 },
  { name: "a default that is left out", rpc: "contract_scalar", args: { a: 1 }, status: 200, data: 11 },
  { name: "a number given as a string", rpc: "contract_scalar", args: { a: "1", b: 2 }, status: 200, data: 3 },
  {
    name: "nested JSON",
    rpc: "contract_json",
    args: { value: { a: [1, null, { b: "c" }], big: 9_007_199_254_740_991 } },
    status: 200,
    data: { got: { a: [1, null, { b: "c" }], big: 9_007_199_254_740_991 } },
  },
  { name: "a JSON string", rpc: "contract_json", args: { value: "text" }, status: 200, data: { got: "text" } },
  { name: "a JSON array", rpc: "contract_json", args: { value: [1, 2] }, status: 200, data: { got: [1, 2] } },
  { name: "JSON null", rpc: "contract_json", args: { value: null }, status: 200, data: { got: null } },
  {
    name: "a set of more than a thousand, cut",
    rpc: "contract_set",
    status: 200,
    data: Array.from({ length: 1000 }, (_, index) => index + 1),
  },
  {
    name: "rows",
    rpc: "contract_rows",
    status: 200,
    data: [
      { n: 1, t: "a" },
      { n: 2, t: "b" },
    ],
  },
  { name: "an array", rpc: "contract_array", args: { list: [1, 2, 3] }, status: 200, data: 6 },
  { name: "an empty array", rpc: "contract_array", args: { list: [] }, status: 200, data: null },
  { name: "nothing returned", rpc: "contract_void", args: { value: "x" }, status: 204, data: null },
  { name: "null returned", rpc: "contract_null", status: 200, data: null },
  { name: "a time", rpc: "contract_time", args: { at: "2026-11-23T08:00:00+05:30" }, status: 200, data: 1_795_401_000 },
  { name: "an impossible time", rpc: "contract_time", args: { at: "yesterday-ish" }, status: 400, code: "22007" },
  { name: "a word for a number", rpc: "contract_scalar", args: { a: "one" }, status: 400, code: "22P02" },
  { name: "a number out of range", rpc: "contract_scalar", args: { a: 3_000_000_000 }, status: 400, code: "22003" },
  { name: "a null character", rpc: "contract_json", args: { value: "a\u0000b" }, status: 400, code: "22P05" },
  { name: "an unknown function", rpc: "contract_nowhere", args: { a: 1 }, status: 404, code: "PGRST202" },
  { name: "an unknown argument", rpc: "contract_scalar", args: { a: 1, c: 2 }, status: 404, code: "PGRST202" },
  { name: "a missing argument", rpc: "contract_scalar", args: { b: 1 }, status: 404, code: "PGRST202" },
  { name: "a raised exception", rpc: "contract_raise", args: { state: "P0001" }, status: 400, code: "P0001" },
  { name: "a lock that was not had", rpc: "contract_raise", args: { state: "55P03" }, status: 500, code: "55P03" },
  { name: "a deadlock", rpc: "contract_raise", args: { state: "40P01" }, status: 500, code: "40P01" },
  { name: "a full disk", rpc: "contract_raise", args: { state: "53100" }, status: 503, code: "53100" },
  { name: "a foreign key", rpc: "contract_raise", args: { state: "23503" }, status: 409, code: "23503" },
  { name: "a value out of a check", rpc: "contract_raise", args: { state: "23514" }, status: 400, code: "23514" },
  { name: "a unique violation", rpc: "contract_twice", status: 409, code: "23505" },
  { name: "a missing table", rpc: "contract_missing_table", status: 404, code: "42P01" },
  { name: "a function without a grant", rpc: "contract_secret", status: 403, code: "42501" },
  {
    name: "a large body in every script",
    rpc: "contract_text",
    args: { value: "Grüße, 世界 🌍 \\ \" ' \n".repeat(20_000) },
    status: 200,
    data: "Grüße, 世界 🌍 \\ \" ' \n".repeat(20_000),
  },
];

export function contractSuite(open: Open): void {
  describe("PostgREST's contract", () => {
    beforeAll(async () => {
      for (const statement of FUNCTIONS.split(/;\n(?=create|revoke|notify)/)) {
        await open().sql(statement.replace(/;\s*$/, ""));
      }
      // PostgREST reads the schema again when it is told; until then it knows none of these.
      const known = async () => expect((await open().client.rpc("contract_null")).status).toBe(200);
      await vi.waitFor(known, { timeout: 20_000, interval: 100 });
    });

    test.each(CASES)("$name: status $status", async ({ rpc, args, status, code, data }) => {
      const answer = await open().client.rpc(rpc, args);
      expect({ status: answer.status, code: answer.error?.code }).toEqual({ status, code });
      if (!code) expect(answer.data).toEqual(data ?? null);
    });

    test("an exception carries its message, details and hint", async () => {
      const { error } = await open().client.rpc("contract_raise", { state: "P0001" });
      expect(error).toMatchObject({ message: "no, not that", details: "the detail", hint: "the hint" });
    });

    test("a call that fails changes nothing, and the next one does", async () => {
      const { client, sql } = open();
      expect((await client.rpc("contract_kept", { value: "first" })).status).toBe(200);
      expect((await client.rpc("contract_kept", { value: "fail" })).status).toBe(400);
      expect(await sql("select value from gateway.settings where name = 'kept'")).toEqual([{ value: "first" }]);
      expect((await client.rpc("contract_kept", { value: "second" })).data).toBe("second");
      await sql("delete from gateway.settings where name = 'kept'");
    });

    test("the handler's and PostgREST's names for a missing function are the same", async () => {
      const { error } = await open().client.rpc("contract_nowhere", { b: 1, a: 2 });
      expect(error?.message).toBe("Could not find the function public.contract_nowhere(a, b) in the schema cache");
    });
  });
}
