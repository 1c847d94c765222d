-- Access: agents with their keys, what each agent may use and has spent, and the credentials of upstreams.
--
-- An agent's key is never stored, only a keyed hash of it; an upstream's key is stored sealed, and how it is shown beside
-- it. What the gateway checks a call against is read whole and held in memory: these tables have as many rows as an
-- operator has made, and the sums one row an agent and day.

-- ------------------------------------------------------------------------------------------------------------- agents

create table gateway.agents (
  id uuid primary key,
  name text not null,
  settings jsonb not null default '{}',
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);
alter table gateway.agents enable row level security;
-- A name is free again once its agent is revoked.
create unique index agents_name on gateway.agents (name) where revoked_at is null;

create table gateway.agent_keys (
  id uuid primary key,
  agent_id uuid not null references gateway.agents (id),
  prefix text not null,
  hash text not null unique,
  created_at timestamptz not null default now(),
  -- Set when a newer key takes its place, or when the agent is revoked.
  expires_at timestamptz,
  last_used_at timestamptz
);
alter table gateway.agent_keys enable row level security;
create index agent_keys_agent on gateway.agent_keys (agent_id);

-- An agent as lib/access/schema.ts knows it, its live keys newest first, with their hashes for the gateway. Settings of
-- an older version lack what came later; their reader fills it in.
create function gateway.agent_json(a gateway.agents) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('id', a.id, 'name', a.name, 'settings', a.settings, 'createdAt', gateway.iso(a.created_at),
    'revokedAt', gateway.iso(a.revoked_at), 'lastUsedAt', gateway.iso(max(k.last_used_at)),
    'keys', coalesce(jsonb_agg(jsonb_build_object('id', k.id, 'prefix', k.prefix, 'hash', k.hash,
      'createdAt', gateway.iso(k.created_at), 'expiresAt', gateway.iso(k.expires_at),
      'lastUsedAt', gateway.iso(k.last_used_at)) order by k.expires_at desc nulls first, k.id desc)
      filter (where k.expires_at is null or k.expires_at > now()), '[]'))
  from gateway.agent_keys k where k.agent_id = a.id
$$;
revoke execute on function gateway.agent_json(gateway.agents) from public;

-- Stores an agent and its first key, both made by the gateway. A taken name is 23505, by agents_name.
create function public.agents_create(agent jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  created gateway.agents;
begin
  insert into gateway.agents (id, name, settings, created_at)
  values ((agent ->> 'id')::uuid, agent ->> 'name', agent -> 'settings', (agent ->> 'createdAt')::timestamptz)
  returning * into created;
  insert into gateway.agent_keys (id, agent_id, prefix, hash, created_at)
  values ((agent #>> '{key,id}')::uuid, created.id, agent #>> '{key,prefix}', agent #>> '{key,hash}',
    created.created_at);
  return gateway.agent_json(created);
end
$$;
revoke execute on function public.agents_create(jsonb) from public, anon, authenticated;
grant execute on function public.agents_create(jsonb) to service_role;

-- All agents, newest first, revoked ones too: old calls still name them. Read whole and held in memory.
create function public.agents_list() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('agents',
    coalesce(jsonb_agg(gateway.agent_json(a) order by a.created_at desc, a.id desc), '[]'))
  from gateway.agents a
$$;
revoke execute on function public.agents_list() from public, anon, authenticated;
grant execute on function public.agents_list() to service_role;

-- Changes the name, if given, and those settings that are given; the merge is made here, so that two changes of
-- different settings at once are both kept. Null when there is no such agent that is valid. By the primary key.
create function public.agents_update(agent_id uuid, change jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  updated gateway.agents;
begin
  update gateway.agents a set
    name = coalesce(change ->> 'name', a.name),
    settings = a.settings || coalesce(change -> 'settings', '{}')
  where a.id = agent_id and a.revoked_at is null
  returning * into updated;
  if updated.id is null then
    return 'null';
  end if;
  return gateway.agent_json(updated);
end
$$;
revoke execute on function public.agents_update(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.agents_update(uuid, jsonb) to service_role;

-- Gives an agent a new key. The newest one before it stays valid for the overlap, any other ends now: never more than
-- two at a time. The agent's row is locked, so that two rotations follow each other. Times are the gateway's own, whose
-- clock also judges them. Null when there is no such agent that is valid. By agent_keys_agent.
create function public.agents_rotate(agent_id uuid, agent_key jsonb, overlap_seconds int) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  rotated gateway.agents;
  made_at timestamptz := (agent_key ->> 'createdAt')::timestamptz;
begin
  if overlap_seconds is null or overlap_seconds < 0 then
    raise exception 'an overlap is 0 or more seconds, not %', overlap_seconds using errcode = '22023';
  end if;
  select * into rotated from gateway.agents a where a.id = agent_id and a.revoked_at is null for update;
  if rotated.id is null then
    return 'null';
  end if;
  update gateway.agent_keys k set expires_at = least(coalesce(k.expires_at, 'infinity'),
    made_at + make_interval(secs => case when ranked.place = 1 then overlap_seconds else 0 end))
  from (select l.id, row_number() over (order by l.expires_at desc nulls first, l.id desc) as place
    from gateway.agent_keys l
    where l.agent_id = rotated.id and (l.expires_at is null or l.expires_at > made_at)) ranked
  where k.id = ranked.id;
  insert into gateway.agent_keys (id, agent_id, prefix, hash, created_at)
  values ((agent_key ->> 'id')::uuid, rotated.id, agent_key ->> 'prefix', agent_key ->> 'hash', made_at);
  return gateway.agent_json(rotated);
end
$$;
revoke execute on function public.agents_rotate(uuid, jsonb, int) from public, anon, authenticated;
grant execute on function public.agents_rotate(uuid, jsonb, int) to service_role;

-- Ends an agent and all its keys; says whether it was valid until now. By the primary key and agent_keys_agent.
create function public.agents_revoke(agent_id uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  ended int;
begin
  update gateway.agents a set revoked_at = now() where a.id = agents_revoke.agent_id and a.revoked_at is null;
  get diagnostics ended = row_count;
  update gateway.agent_keys k set expires_at = least(coalesce(k.expires_at, 'infinity'), now())
  where k.agent_id = agents_revoke.agent_id;
  return jsonb_build_object('revoked', ended > 0);
end
$$;
revoke execute on function public.agents_revoke(uuid) from public, anon, authenticated;
grant execute on function public.agents_revoke(uuid) to service_role;

-- When keys were last used: `[{"id", "lastUsedAt"}]`, in the order of their ids, so that two gateways cannot wait for
-- each other. An older time never replaces a newer one. By the primary key.
create function public.agent_keys_used(keys jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  updated int;
begin
  with used as (
    select r.id, max(r."lastUsedAt") as last_used_at
    from jsonb_to_recordset(keys) as r (id uuid, "lastUsedAt" timestamptz) group by r.id
  ), locked as (
    select k.id from gateway.agent_keys k join used u on u.id = k.id order by k.id for update of k
  )
  update gateway.agent_keys k set last_used_at = greatest(k.last_used_at, u.last_used_at)
  from used u, locked l where k.id = u.id and l.id = k.id;
  get diagnostics updated = row_count;
  return jsonb_build_object('updated', updated);
end
$$;
revoke execute on function public.agent_keys_used(jsonb) from public, anon, authenticated;
grant execute on function public.agent_keys_used(jsonb) to service_role;

-- -------------------------------------------------------------------------------------------------------------- spend

-- What each agent spent by UTC day, for budgets. Raw calls do not last a month and the hourly sums know agents by the
-- names they had, which labels may carry too; these sums go by the agent's id and are kept for ever.
create table gateway.agent_spend (
  agent_id uuid not null,
  day timestamptz not null,
  cost_nano_usd bigint not null,
  unpriced_calls bigint not null,
  primary key (agent_id, day)
) with (fillfactor = 70);
alter table gateway.agent_spend enable row level security;

-- Adds what calls_record really inserted, in its transaction: a batch that is sent again adds nothing. In the order of
-- the key, so that two gateways cannot wait for each other.
create function gateway.agent_spend_add() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
  insert into gateway.agent_spend as t
  select c.agent_key_id, date_bin('24 hours', c.started_at, 'epoch') as day,
    coalesce(sum(c.cost_nano_usd), 0)::bigint, count(*) filter (where c.cost_nano_usd is null)
  from added c where c.agent_key_id is not null
  group by 1, 2 order by 1, 2
  on conflict (agent_id, day) do update set
    cost_nano_usd = t.cost_nano_usd + excluded.cost_nano_usd,
    unpriced_calls = t.unpriced_calls + excluded.unpriced_calls;
  return null;
end
$$;
revoke execute on function gateway.agent_spend_add() from public;

create trigger agent_spend after insert on gateway.calls
referencing new table as added for each statement execute function gateway.agent_spend_add();

-- What agents have spent since a moment, by agent and UTC day: a month at most is asked for. By the primary key, whole.
create function public.agents_spend(since timestamptz) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('spend', coalesce(jsonb_agg(jsonb_build_object('agentId', s.agent_id,
    'day', gateway.iso(s.day), 'costNanoUsd', s.cost_nano_usd, 'unpricedCalls', s.unpriced_calls)
    order by s.day, s.agent_id), '[]'))
  from gateway.agent_spend s where s.day >= since
$$;
revoke execute on function public.agents_spend(timestamptz) from public, anon, authenticated;
grant execute on function public.agents_spend(timestamptz) to service_role;

-- ---------------------------------------------------------------------------------------------------------- upstreams

create table gateway.upstreams (
  id uuid primary key,
  name text not null unique,
  kind text not null check (kind in ('api', 'admin')),
  base_url text not null,
  -- Sealed by the gateway, whose master key is not in the database.
  secret text not null,
  masked_key text not null,
  enabled boolean not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
alter table gateway.upstreams enable row level security;

create function gateway.upstream_json(u gateway.upstreams) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('id', u.id, 'name', u.name, 'kind', u.kind, 'baseUrl', u.base_url, 'secret', u.secret,
    'maskedKey', u.masked_key, 'enabled', u.enabled, 'createdAt', gateway.iso(u.created_at),
    'updatedAt', gateway.iso(u.updated_at))
$$;
revoke execute on function gateway.upstream_json(gateway.upstreams) from public;

-- All upstreams in the order they were made. Read whole and held in memory.
create function public.upstreams_list() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('upstreams',
    coalesce(jsonb_agg(gateway.upstream_json(u) order by u.created_at, u.id), '[]'))
  from gateway.upstreams u
$$;
revoke execute on function public.upstreams_list() from public, anon, authenticated;
grant execute on function public.upstreams_list() to service_role;

-- Stores an upstream with its sealed key. A taken name is 23505.
create function public.upstreams_create(upstream jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  created gateway.upstreams;
begin
  insert into gateway.upstreams (id, name, kind, base_url, secret, masked_key, enabled)
  values ((upstream ->> 'id')::uuid, upstream ->> 'name', upstream ->> 'kind', upstream ->> 'baseUrl',
    upstream ->> 'secret', upstream ->> 'maskedKey', (upstream ->> 'enabled')::boolean)
  returning * into created;
  return gateway.upstream_json(created);
end
$$;
revoke execute on function public.upstreams_create(jsonb) from public, anon, authenticated;
grant execute on function public.upstreams_create(jsonb) to service_role;

-- Changes what is given. Null when there is no such upstream. By the primary key.
create function public.upstreams_update(upstream_id uuid, change jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  updated gateway.upstreams;
begin
  update gateway.upstreams u set
    name = coalesce(change ->> 'name', u.name),
    base_url = coalesce(change ->> 'baseUrl', u.base_url),
    secret = coalesce(change ->> 'secret', u.secret),
    masked_key = coalesce(change ->> 'maskedKey', u.masked_key),
    enabled = coalesce((change ->> 'enabled')::boolean, u.enabled),
    updated_at = now()
  where u.id = upstream_id
  returning * into updated;
  if updated.id is null then
    return 'null';
  end if;
  return gateway.upstream_json(updated);
end
$$;
revoke execute on function public.upstreams_update(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.upstreams_update(uuid, jsonb) to service_role;

-- By the primary key.
create function public.upstreams_delete(upstream_id uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  deleted int;
begin
  delete from gateway.upstreams u where u.id = upstream_id;
  get diagnostics deleted = row_count;
  return jsonb_build_object('deleted', deleted > 0);
end
$$;
revoke execute on function public.upstreams_delete(uuid) from public, anon, authenticated;
grant execute on function public.upstreams_delete(uuid) to service_role;

notify pgrst, 'reload schema';
