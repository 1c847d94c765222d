-- The ground that every other migration stands on: the schema of the tables, the settings, the leases, and the state of
-- the database itself.
--
-- Tables lie in `gateway`, which no API exposes, with row level security on and no policy: only their owner passes.
-- `public` holds functions and nothing else. They are SECURITY DEFINER with a pinned search_path, so they run as that
-- owner; execute is taken from everybody and given to service_role alone. Each returns one jsonb value, never SETOF:
-- PostgREST cuts a set at 1,000 rows and says nothing.

create schema gateway;
revoke all on schema gateway from public;

-- An instant as JSON carries it: ISO 8601, UTC, milliseconds, whatever the session's time zone and DateStyle.
create function gateway.iso(instant timestamptz) returns text
language sql stable parallel safe
as $$ select to_char(instant at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;
revoke execute on function gateway.iso(timestamptz) from public;

-- ---------------------------------------------------------------------------------------------------------- settings

create table gateway.settings (
  name text primary key,
  value jsonb not null,
  updated_at timestamptz not null default now()
);
alter table gateway.settings enable row level security;

-- What operators set on the dashboard, all of it: a page of rows, read whole at start and after each change.
create function public.settings_get() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('settings', coalesce(jsonb_object_agg(s.name, s.value), '{}')) from gateway.settings s
$$;
revoke execute on function public.settings_get() from public, anon, authenticated;
grant execute on function public.settings_get() to service_role;

-- Sets one setting; null removes it. By the primary key.
create function public.settings_set(name text, value jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if value is null or value = 'null' then
    delete from gateway.settings s where s.name = settings_set.name;
  else
    insert into gateway.settings (name, value) values (settings_set.name, settings_set.value)
    on conflict on constraint settings_pkey do update set value = excluded.value, updated_at = now();
  end if;
  return public.settings_get();
end
$$;
revoke execute on function public.settings_set(text, jsonb) from public, anon, authenticated;
grant execute on function public.settings_set(text, jsonb) to service_role;

-- ------------------------------------------------------------------------------------------------------------ leases

create table gateway.leases (
  name text primary key,
  holder text not null,
  held_until timestamptz not null
);
alter table gateway.leases enable row level security;

-- Who may do a thing that only one of several instances should do, such as evaluating alert rules. One conditional
-- update by the primary key: the holder renews, anybody takes over once the time has run out, by the database's clock.
create function public.leases_claim(lease_name text, holder text, ttl_seconds int) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  lease gateway.leases;
begin
  if ttl_seconds not between 1 and 3600 or lease_name is null or holder is null then
    raise exception 'a lease needs a name, a holder and 1 to 3600 seconds, not % for %', ttl_seconds, lease_name
      using errcode = '22023';
  end if;
  insert into gateway.leases as l (name, holder, held_until)
  values (lease_name, leases_claim.holder, clock_timestamp() + make_interval(secs => ttl_seconds))
  on conflict (name) do update set holder = excluded.holder, held_until = excluded.held_until
    where l.holder = excluded.holder or l.held_until <= clock_timestamp();
  select * into strict lease from gateway.leases l where l.name = lease_name;
  return jsonb_build_object(
    'held', lease.holder = leases_claim.holder, 'holder', lease.holder, 'until', gateway.iso(lease.held_until));
end
$$;
revoke execute on function public.leases_claim(text, text, int) from public, anon, authenticated;
grant execute on function public.leases_claim(text, text, int) to service_role;

-- Gives a lease back before its time, so that a restart need not wait for it. By the primary key.
create function public.leases_release(lease_name text, holder text) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  released int;
begin
  delete from gateway.leases l where l.name = lease_name and l.holder = leases_release.holder;
  get diagnostics released = row_count;
  return jsonb_build_object('released', released > 0);
end
$$;
revoke execute on function public.leases_release(text, text) from public, anon, authenticated;
grant execute on function public.leases_release(text, text) to service_role;

-- ------------------------------------------------------------------------------------------------------------- state

-- For /readyz and the doctor: which migration the database stands at, its clock, its version. The history table is the
-- one of `supabase db push`; it is missing where the SQL was pasted by hand.
create function public.database_state() returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  latest text;
begin
  if to_regclass('supabase_migrations.schema_migrations') is not null then
    execute 'select max(version) from supabase_migrations.schema_migrations' into latest;
  end if;
  return jsonb_build_object(
    'migration', latest, 'at', gateway.iso(clock_timestamp()), 'postgres', current_setting('server_version'));
end
$$;
revoke execute on function public.database_state() from public, anon, authenticated;
grant execute on function public.database_state() to service_role;

notify pgrst, 'reload schema';
