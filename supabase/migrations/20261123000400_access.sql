-- Access: Headroom's own keys for agents. A key itself is never stored, only a keyed hash of it.

create table gateway.agent_keys (
  id uuid primary key,
  name text not null,
  prefix text not null,
  hash text not null unique,
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  last_used_at timestamptz
);
alter table gateway.agent_keys enable row level security;
-- A name is free again once its key is revoked: that is how a key is replaced.
create unique index agent_keys_name on gateway.agent_keys (name) where revoked_at is null;

-- Stores a key that the gateway made. A taken name is 23505, by agent_keys_name.
create function public.agent_keys_create(agent_key jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into gateway.agent_keys (id, name, prefix, hash, created_at)
  values ((agent_key ->> 'id')::uuid, agent_key ->> 'name', agent_key ->> 'prefix', agent_key ->> 'hash',
    coalesce((agent_key ->> 'createdAt')::timestamptz, now()));
  return jsonb_build_object('id', agent_key ->> 'id');
end
$$;
revoke execute on function public.agent_keys_create(jsonb) from public, anon, authenticated;
grant execute on function public.agent_keys_create(jsonb) to service_role;

-- All keys, newest first, revoked ones too: old calls still name them. Read whole and held in memory.
create function public.agent_keys_list() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('keys', coalesce(jsonb_agg(jsonb_build_object(
    'id', k.id, 'name', k.name, 'prefix', k.prefix, 'hash', k.hash, 'createdAt', gateway.iso(k.created_at),
    'revokedAt', gateway.iso(k.revoked_at), 'lastUsedAt', gateway.iso(k.last_used_at))
    order by k.created_at desc, k.id desc), '[]'))
  from gateway.agent_keys k
$$;
revoke execute on function public.agent_keys_list() from public, anon, authenticated;
grant execute on function public.agent_keys_list() to service_role;

-- Ends a key; says whether it was valid until now. By the primary key.
create function public.agent_keys_revoke(key_id uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  revoked int;
begin
  update gateway.agent_keys k set revoked_at = now() where k.id = key_id and k.revoked_at is null;
  get diagnostics revoked = row_count;
  return jsonb_build_object('revoked', revoked > 0);
end
$$;
revoke execute on function public.agent_keys_revoke(uuid) from public, anon, authenticated;
grant execute on function public.agent_keys_revoke(uuid) to service_role;

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

notify pgrst, 'reload schema';
