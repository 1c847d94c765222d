import { expect, test } from "vitest";
import { latencyBucket, latencyValue } from "../../lib/usage/histogram.ts";
import { seeded } from "./calls.ts";
import type { Open } from "./suite.ts";

export function histogramSuite(open: Open): void {
  test("SQL and TypeScript put a duration into the same bucket, at every edge too", async () => {
    const random = seeded(7);
    const edges = Array.from({ length: 345 }, (_, b) => 1.04 ** b);
    const values = [0, 0.5, 1, 1.0000001, ...edges, ...edges.map((edge) => edge * 1.000001)];
    for (let index = 0; index < 2000; index += 1) values.push(Math.exp(random() * 13.3));
    const rows = await open().sql(
      `select gateway.latency_bucket(v.ms::float8)::int as b, gateway.latency_value(gateway.latency_bucket(v.ms::float8)) as value
       from json_array_elements_text($1::text::json) with ordinality v (ms, n) order by v.n`,
      [JSON.stringify(values)],
    );
    expect(rows.map(({ b }) => Number(b))).toEqual(values.map(latencyBucket));
    for (const row of rows) expect(Number(row.value)).toBeCloseTo(latencyValue(Number(row.b)), 6);
  });

  test("999 quantiles lie within 2 % of the true ones", async () => {
    const random = seeded(11);
    const values = Array.from({ length: 20_000 }, () => 5 * Math.exp(random() * random() * 11));
    const [row] = await open().sql(
      `with v as (select ms::float8 as ms from json_array_elements_text($1::text::json) as e (ms)),
         q as (select n / 1000.0::float8 as q from generate_series(1, 999) n),
         exact as (select percentile_disc(array(select q from q order by q)) within group (order by ms) as ms from v),
         h as (select gateway.latency_bucket(ms) as b, count(*) as n from v group by 1),
         c as (select b, sum(n) over (order by b) as upto, sum(n) over () as total from h),
         told as (select q.q, gateway.latency_value(min(c.b) filter (where c.upto >= q.q * c.total)) as ms
                  from c cross join q group by q.q)
       select max(abs(told.ms / e.ms - 1))::float8 as worst, count(*)::int as quantiles
       from exact, unnest(exact.ms) with ordinality e (ms, n) join told on told.q = e.n / 1000.0::float8`,
      [JSON.stringify(values)],
    );
    expect(Number(row?.quantiles)).toBe(999);
    expect(Number(row?.worst)).toBeLessThan(0.02);
  });
}
