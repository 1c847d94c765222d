-- Limits: the last that was heard of every limiter, and each change of a limit's value.

create table gateway.limits (
  upstream text not null,
  pool text not null,
  lane text not null,
  limiter text not null,
  "limit" bigint not null check ("limit" >= 0),
  remaining bigint,
  reset_at timestamptz,
  source text not null,
  observed_at timestamptz not null,
  primary key (upstream, pool, lane, limiter)
);
alter table gateway.limits enable row level security;

create table gateway.limit_changes (
  id bigint generated always as identity primary key,
  upstream text not null,
  pool text not null,
  lane text not null,
  limiter text not null,
  before bigint not null,
  after bigint not null,
  source text not null,
  changed_at timestamptz not null
);
alter table gateway.limit_changes enable row level security;
create index limit_changes_changed_at on gateway.limit_changes (changed_at);

create function gateway.limit_change_json(c gateway.limit_changes) returns jsonb
language sql stable parallel safe
as $$
  select jsonb_build_object('upstream', c.upstream, 'pool', c.pool, 'lane', c.lane, 'limiter', c.limiter,
    'before', c.before, 'after', c.after, 'source', c.source, 'at', gateway.iso(c.changed_at))
$$;
revoke execute on function gateway.limit_change_json(gateway.limit_changes) from public;

-- Keeps what was observed last, whatever the order in which several gateways tell it, and returns the changes it found.
-- One caller at a time, for a change is the difference to what is stored; there are a few dozen limiters, told about
-- every few seconds. By the primary key.
create function public.limits_record(rows jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  seen record;
  known gateway.limits;
  change gateway.limit_changes;
  changes jsonb := '[]';
begin
  if jsonb_typeof(rows) is distinct from 'array' then
    raise exception 'rows must be an array of limits' using errcode = '22023';
  end if;
  perform pg_advisory_xact_lock(hashtext('gateway limits'));
  for seen in
    select * from jsonb_to_recordset(rows) as r (upstream text, pool text, lane text, limiter text, "limit" bigint,
      remaining bigint, "resetAt" timestamptz, source text, "observedAt" timestamptz)
    order by r."observedAt"
  loop
    select * into known from gateway.limits l
    where l.upstream = seen.upstream and l.pool = seen.pool and l.lane = seen.lane and l.limiter = seen.limiter;
    continue when known.observed_at > seen."observedAt";
    insert into gateway.limits as l
    values (seen.upstream, seen.pool, seen.lane, seen.limiter, seen."limit", seen.remaining, seen."resetAt",
      seen.source, seen."observedAt")
    on conflict (upstream, pool, lane, limiter) do update set "limit" = excluded."limit",
      remaining = excluded.remaining, reset_at = excluded.reset_at, source = excluded.source,
      observed_at = excluded.observed_at;
    if known."limit" <> seen."limit" then
      insert into gateway.limit_changes as c (upstream, pool, lane, limiter, before, after, source, changed_at)
      values (seen.upstream, seen.pool, seen.lane, seen.limiter, known."limit", seen."limit", seen.source,
        seen."observedAt")
      returning * into change;
      changes := changes || gateway.limit_change_json(change);
    end if;
  end loop;
  return jsonb_build_object('changes', changes);
end
$$;
revoke execute on function public.limits_record(jsonb) from public, anon, authenticated;
grant execute on function public.limits_record(jsonb) to service_role;

-- Every limiter ever heard of: a few dozen rows, read whole at start.
create function public.limits_list() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('limits', coalesce(jsonb_agg(jsonb_build_object(
    'upstream', l.upstream, 'pool', l.pool, 'lane', l.lane, 'limiter', l.limiter, 'limit', l."limit",
    'remaining', l.remaining, 'resetAt', gateway.iso(l.reset_at), 'source', l.source,
    'observedAt', gateway.iso(l.observed_at)) order by l.upstream, l.pool, l.lane, l.limiter), '[]'))
  from gateway.limits l
$$;
revoke execute on function public.limits_list() from public, anon, authenticated;
grant execute on function public.limits_list() to service_role;

-- Changes of limits since a time, newest first, at most 1,000. By limit_changes_changed_at.
create function public.limits_changes(since timestamptz) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('changes', coalesce(jsonb_agg(gateway.limit_change_json(c)
    order by c.changed_at desc, c.id desc), '[]'))
  from (select * from gateway.limit_changes c where c.changed_at >= since
        order by c.changed_at desc, c.id desc limit 1000) c
$$;
revoke execute on function public.limits_changes(timestamptz) from public, anon, authenticated;
grant execute on function public.limits_changes(timestamptz) to service_role;

notify pgrst, 'reload schema';
