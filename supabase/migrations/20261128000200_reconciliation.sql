-- What Anthropic's own reports say of each day, to be laid beside Headroom's sums; and the pricing of calls whose model
-- had no known price when they were recorded.

-- One row a day that was read, replaced whole whenever it is read again. `models` is as lib/reconciliation/schema.ts has
-- it: a day holds a handful, and they are only ever read together. Kept for ever.
create table gateway.reported_days (
  day timestamptz primary key check (day = date_bin('24 hours', day, 'epoch')),
  read_at timestamptz not null,
  models jsonb not null check (jsonb_typeof(models) = 'array')
);
alter table gateway.reported_days enable row level security;

-- Stores days as they were read: `[{"day", "readAt", "models"}]`. An older reading never replaces a newer one. In the
-- order of the key, so that two gateways cannot wait for each other.
create function public.reconciliation_record(days jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  recorded int;
begin
  insert into gateway.reported_days as t (day, read_at, models)
  select r.day, r."readAt", r.models
  from jsonb_to_recordset(days) as r (day timestamptz, "readAt" timestamptz, models jsonb)
  order by r.day
  on conflict (day) do update set read_at = excluded.read_at, models = excluded.models
    where t.read_at <= excluded.read_at;
  get diagnostics recorded = row_count;
  return jsonb_build_object('recorded', recorded);
end
$$;
revoke execute on function public.reconciliation_record(jsonb) from public, anon, authenticated;
grant execute on function public.reconciliation_record(jsonb) to service_role;

-- The days that were read, from the first time, which is included, to the second, which is not. By the primary key.
create function public.reconciliation_list(query jsonb) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('days', coalesce(jsonb_agg(jsonb_build_object('day', gateway.iso(d.day),
    'readAt', gateway.iso(d.read_at), 'models', d.models) order by d.day), '[]'))
  from gateway.reported_days d
  where d.day >= (query ->> 'from')::timestamptz and d.day < (query ->> 'to')::timestamptz
$$;
revoke execute on function public.reconciliation_list(jsonb) from public, anon, authenticated;
grant execute on function public.reconciliation_list(jsonb) to service_role;

-- ----------------------------------------------------------------------------------------------------------- pricing

-- A page of calls without a cost from the time before their model had a price, newest first: those up to the model's
-- first call that did cost something. Later ones lack a cost for other reasons. Models are given without their dates.
-- Goes from the newest on, so that what was just priced never hides what is still to be: `before` is the last call of
-- the page before. The hourly sums tell which hours hold such calls, and only those are read.
create function public.calls_unpriced(filter jsonb) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  with hours as (
    select u.bucket, u.model from gateway.usage_1h u cross join gateway.retention k
    where u.unpriced_calls > 0 and u.bucket >= k.calls_from
      and regexp_replace(u.model, '-\d{8}$', '') in (select jsonb_array_elements_text(filter -> 'models'))
      and u.bucket <= coalesce((filter #>> '{before,startedAt}')::timestamptz, 'infinity')
    group by 1, 2
  ), priced as (
    select u.model, min(u.bucket) as bucket from gateway.usage_1h u
    where u.cost_nano_usd > 0 and u.model in (select h.model from hours h)
    group by 1
  ), known as (
    -- Where the calls of that hour are not kept any more, the hour itself.
    select p.model, coalesce((
      select min(c.started_at) from gateway.calls c
      where c.started_at >= p.bucket and c.started_at < p.bucket + interval '1 hour' and c.model = p.model
        and c.cost_nano_usd > 0), p.bucket) as since
    from priced p
  ), page as (
    select u.call, u.started_at, u.id from hours h left join known k on k.model = h.model
    cross join lateral (
      select c as call, c.started_at, c.id from gateway.calls c
      where c.started_at >= h.bucket and c.started_at < h.bucket + interval '1 hour'
        and c.started_at <= coalesce(k.since, 'infinity') and c.model = h.model and c.cost_nano_usd is null
        and (filter -> 'before' is null or filter -> 'before' = 'null' or (c.started_at, c.id) <
          ((filter #>> '{before,startedAt}')::timestamptz, (filter #>> '{before,id}')::uuid))) u
    order by u.started_at desc, u.id desc
    limit least(greatest(coalesce((filter ->> 'limit')::int, 1000), 1), 1000)
  )
  select jsonb_build_object('calls', coalesce(jsonb_agg(gateway.call_json(p.call)
    order by p.started_at desc, p.id desc), '[]'))
  from page p
$$;
revoke execute on function public.calls_unpriced(jsonb) from public, anon, authenticated;
grant execute on function public.calls_unpriced(jsonb) to service_role;

-- Gives calls that have none their cost: `[{"id", "startedAt", "costNanoUsd"}]`; and brings every sum that knows of them
-- up to date in the same transaction. A call that has a cost keeps it, so that a replay is harmless. One at a time. By
-- the primary keys of all four tables.
create function public.calls_price(prices jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  oldest timestamptz;
  newest timestamptz;
  priced int;
begin
  perform pg_advisory_xact_lock(hashtext('gateway pricing'));
  -- So that no other day's partition is looked into.
  select min((p.value ->> 'startedAt')::timestamptz), max((p.value ->> 'startedAt')::timestamptz)
    into oldest, newest from jsonb_array_elements(prices) p;
  with given as (
    select r.id, r."startedAt" as started_at, r."costNanoUsd" as cost
    from jsonb_to_recordset(prices) as r (id uuid, "startedAt" timestamptz, "costNanoUsd" bigint)
    where r."costNanoUsd" is not null
  ), changed as (
    update gateway.calls c set cost_nano_usd = g.cost from given g
    where c.started_at = g.started_at and c.id = g.id and c.cost_nano_usd is null
      and c.started_at between oldest and newest
    returning c.*
  ), minutes as (
    select date_bin('1 minute', c.started_at, 'epoch') as bucket, c.upstream, coalesce(c.pool, '') as pool,
      coalesce(c.model, '') as model, c.agent, sum(c.cost_nano_usd)::bigint as cost, count(*) as calls
    from changed c group by 1, 2, 3, 4, 5
  ), hours as (
    select date_bin('1 hour', m.bucket, 'epoch') as bucket, m.upstream, m.pool, m.model, m.agent,
      sum(m.cost)::bigint as cost, sum(m.calls)::bigint as calls
    from minutes m group by 1, 2, 3, 4, 5
  ), days as (
    select c.agent_key_id as agent_id, date_bin('24 hours', c.started_at, 'epoch') as day,
      sum(c.cost_nano_usd)::bigint as cost, count(*) as calls
    from changed c where c.agent_key_id is not null group by 1, 2
  ), by_minute as (
    update gateway.usage_1m t
    set cost_nano_usd = t.cost_nano_usd + m.cost, unpriced_calls = t.unpriced_calls - m.calls from minutes m
    where (t.bucket, t.upstream, t.pool, t.model, t.agent) = (m.bucket, m.upstream, m.pool, m.model, m.agent)
  ), by_hour as (
    update gateway.usage_1h t
    set cost_nano_usd = t.cost_nano_usd + h.cost, unpriced_calls = t.unpriced_calls - h.calls from hours h
    where (t.bucket, t.upstream, t.pool, t.model, t.agent) = (h.bucket, h.upstream, h.pool, h.model, h.agent)
  ), by_day as (
    update gateway.agent_spend t
    set cost_nano_usd = t.cost_nano_usd + d.cost, unpriced_calls = t.unpriced_calls - d.calls from days d
    where t.agent_id = d.agent_id and t.day = d.day
  )
  select count(*) into priced from changed;
  return jsonb_build_object('priced', priced);
end
$$;
revoke execute on function public.calls_price(jsonb) from public, anon, authenticated;
grant execute on function public.calls_price(jsonb) to service_role;

notify pgrst, 'reload schema';
