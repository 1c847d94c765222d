-- Alerts: rules, the incidents they open, the channels to tell, and the outbox between them.
--
-- The gateway judges (lib/alerts/evaluate.ts, lifecycle.ts); this file makes its verdicts last and its notices unique:
-- * a change of an incident and the notices it owes are written by one function, alerts_record, in one transaction;
-- * every change names the version it was made from, so of two gateways that saw the same crossing one wins and the
--   other is told to read again;
-- * a notice is a row until it is delivered, claimed under a lease, and never goes away because a process did.

create schema if not exists gateway;

create table gateway.alert_rules (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  kind text not null check (kind in ('utilisation')),
  enabled boolean not null,
  scope jsonb not null,
  severity text not null check (severity in ('warning', 'critical')),
  threshold double precision not null,
  pending_seconds double precision not null,
  recovery_threshold double precision not null,
  recovery_seconds double precision not null,
  -- Null tells every channel, also those added later.
  channel_ids uuid[],
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create table gateway.alert_channels (
  id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in ('webhook', 'email')),
  name text not null,
  enabled boolean not null,
  settings jsonb not null,
  -- Signing secrets, sealed by the gateway: this database cannot read them. The previous one signs too for a while
  -- after a rotation.
  secret text,
  previous_secret text,
  previous_secret_until timestamptz,
  disabled_reason text,
  -- Events given up one after the other; a delivery sets it back.
  failures integer not null default 0,
  created_at timestamptz not null default now(),
  -- Deleted channels stay as the name in the delivery log; settings and secrets are wiped.
  deleted_at timestamptz
);

create table gateway.alerts (
  id uuid primary key,
  -- Not a foreign key: a deleted rule leaves its history.
  rule_id uuid not null,
  rule_name text not null,
  severity text not null check (severity in ('warning', 'critical')),
  state text not null check (state in ('pending', 'firing', 'recovering', 'resolved')),
  upstream text not null,
  pool text not null,
  pool_name text not null,
  lane text not null,
  limiter text not null,
  threshold double precision not null,
  utilisation double precision not null,
  used double precision not null,
  "limit" bigint not null,
  limit_source text not null,
  peak_utilisation double precision not null,
  top_agents jsonb not null,
  pending_since timestamptz not null,
  fired_at timestamptz,
  recovering_since timestamptz,
  resolved_at timestamptz,
  resolved_reason text,
  -- Firing notices owed so far: 1 when it fired, 2 when it then rose to critical.
  told integer not null default 0,
  version integer not null,
  -- When the evaluator last vouched for this row, by the evaluator's clock.
  updated_at timestamptz not null
);

-- One open incident per rule and limiter, whoever opens it.
create unique index alerts_open_once on gateway.alerts (rule_id, upstream, pool, lane, limiter) where state <> 'resolved';

create table gateway.notifications (
  id uuid primary key default gen_random_uuid(),
  seq bigint generated always as identity unique,
  alert_id uuid references gateway.alerts (id) on delete cascade,
  channel_id uuid not null references gateway.alert_channels (id),
  event text not null check (event in ('alert.firing', 'alert.resolved', 'alert.test')),
  event_number integer not null,
  -- The incident as it was at the change, so that every attempt says the same.
  snapshot jsonb,
  state text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed', 'dropped')),
  attempts integer not null default 0,
  next_attempt_at timestamptz default now(),
  lease_holder text,
  lease_until timestamptz,
  -- An attempt ended without an answer, so the receiver may know of this event.
  uncertain boolean not null default false,
  -- Asked for again by an operator: sent whatever became of the incident.
  replayed boolean not null default false,
  -- The 24 hours of trying count from here.
  trying_since timestamptz not null default now(),
  created_at timestamptz not null default now(),
  delivered_at timestamptz,
  last_status integer,
  last_latency_ms double precision,
  last_answer text
);

-- The guarantee behind "one notification per change": whatever happens above, a second row cannot be written.
create unique index notifications_once on gateway.notifications (alert_id, event, event_number, channel_id);
create index notifications_due on gateway.notifications (next_attempt_at) where state = 'waiting';
create index notifications_by_channel on gateway.notifications (channel_id, seq);

alter table gateway.alert_rules enable row level security;
alter table gateway.alert_channels enable row level security;
alter table gateway.alerts enable row level security;
alter table gateway.notifications enable row level security;

create function gateway.rule_document(r gateway.alert_rules) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', r.id, 'name', r.name, 'kind', r.kind, 'enabled', r.enabled, 'scope', r.scope, 'severity', r.severity,
    'threshold', r.threshold, 'pendingSeconds', r.pending_seconds, 'recoveryThreshold', r.recovery_threshold,
    'recoverySeconds', r.recovery_seconds, 'channelIds', to_jsonb(r.channel_ids),
    'createdAt', gateway.iso(r.created_at), 'updatedAt', gateway.iso(r.updated_at))
$$;

-- A channel as it is shown: without its secrets.
create function gateway.channel_document(c gateway.alert_channels) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', c.id, 'kind', c.kind, 'name', c.name, 'enabled', c.enabled, 'settings', c.settings,
    'disabledReason', c.disabled_reason, 'createdAt', gateway.iso(c.created_at))
$$;

create function gateway.alert_document(a gateway.alerts) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', a.id, 'ruleId', a.rule_id, 'ruleName', a.rule_name, 'severity', a.severity, 'state', a.state,
    'upstream', a.upstream, 'pool', a.pool, 'poolName', a.pool_name, 'lane', a.lane, 'limiter', a.limiter,
    'threshold', a.threshold, 'utilisation', a.utilisation, 'used', a.used, 'limit', a."limit",
    'limitSource', a.limit_source, 'peakUtilisation', a.peak_utilisation, 'topAgents', a.top_agents,
    'pendingSince', gateway.iso(a.pending_since), 'firedAt', gateway.iso(a.fired_at),
    'recoveringSince', gateway.iso(a.recovering_since), 'resolvedAt', gateway.iso(a.resolved_at),
    'resolvedReason', a.resolved_reason)
$$;

create function gateway.notification_document(n gateway.notifications) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', n.id, 'alertId', n.alert_id, 'channelId', n.channel_id, 'channelName', c.name, 'channelKind', c.kind,
    'event', n.event, 'state', n.state, 'attempts', n.attempts,
    'nextAttemptAt', gateway.iso(n.next_attempt_at), 'createdAt', gateway.iso(n.created_at),
    'deliveredAt', gateway.iso(n.delivered_at), 'lastStatus', n.last_status,
    'lastLatencyMs', n.last_latency_ms, 'lastAnswer', n.last_answer)
  from gateway.alert_channels c where c.id = n.channel_id
$$;

-- What a worker needs to send one notice: the event, what became of its incident, and the channel with sealed secrets.
create function gateway.claim_document(n gateway.notifications) returns jsonb language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object(
    'id', n.id, 'event', n.event, 'eventNumber', n.event_number, 'attempts', n.attempts, 'replayed', n.replayed,
    'createdAt', gateway.iso(n.created_at),
    'ageSeconds', extract(epoch from now() - n.trying_since)::double precision,
    'alert', n.snapshot,
    'alertState', (select a.state from gateway.alerts a where a.id = n.alert_id),
    'firingTold', exists (
      select 1 from gateway.notifications f
      where f.alert_id = n.alert_id and f.channel_id = n.channel_id and f.event = 'alert.firing'
        and (f.state = 'delivered' or f.uncertain)),
    'channel', jsonb_build_object(
      'id', c.id, 'kind', c.kind, 'name', c.name, 'settings', c.settings, 'secret', c.secret,
      'previousSecret', case when c.previous_secret_until > now() then c.previous_secret end))
  from gateway.alert_channels c where c.id = n.channel_id
$$;

-- Switches a channel off because of what it answered, and gives up what still waits for it.
create function gateway.disable_channel(channel uuid, reason text) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update gateway.alert_channels set enabled = false, disabled_reason = reason where id = channel;
  update gateway.notifications set state = 'dropped', next_attempt_at = null
  where channel_id = channel and state = 'waiting' and lease_until is null and event <> 'alert.test';
end $$;

-- Rules ---------------------------------------------------------------------------------------------------------------

create function public.rules_list() returns jsonb language sql security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(gateway.rule_document(r) order by r.created_at, r.id), '[]') from gateway.alert_rules r
$$;

-- Inserts a rule without an id, replaces the one with it. Null when there is no such rule.
create function public.rules_save(rule jsonb) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  saved gateway.alert_rules;
  wanted uuid[] := case when jsonb_typeof(rule -> 'channelIds') = 'array'
    then array(select jsonb_array_elements_text(rule -> 'channelIds')::uuid) end;
begin
  if wanted is not null and exists (
    select 1 from unnest(wanted) w where not exists (
      select 1 from gateway.alert_channels c where c.id = w and c.deleted_at is null)) then
    raise exception 'channelIds names a channel that does not exist' using errcode = '22023';
  end if;
  if rule ->> 'id' is null then
    insert into gateway.alert_rules
      (name, kind, enabled, scope, severity, threshold, pending_seconds, recovery_threshold, recovery_seconds, channel_ids)
    values
      (rule ->> 'name', rule ->> 'kind', (rule ->> 'enabled')::boolean, rule -> 'scope', rule ->> 'severity',
       (rule ->> 'threshold')::double precision, (rule ->> 'pendingSeconds')::double precision,
       (rule ->> 'recoveryThreshold')::double precision, (rule ->> 'recoverySeconds')::double precision, wanted)
    returning * into saved;
  else
    update gateway.alert_rules r set
      name = rule ->> 'name', kind = rule ->> 'kind', enabled = (rule ->> 'enabled')::boolean, scope = rule -> 'scope',
      severity = rule ->> 'severity', threshold = (rule ->> 'threshold')::double precision,
      pending_seconds = (rule ->> 'pendingSeconds')::double precision,
      recovery_threshold = (rule ->> 'recoveryThreshold')::double precision,
      recovery_seconds = (rule ->> 'recoverySeconds')::double precision, channel_ids = wanted, updated_at = now()
    where r.id = (rule ->> 'id')::uuid
    returning * into saved;
  end if;
  return case when saved.id is null then null else gateway.rule_document(saved) end;
end $$;

create function public.rules_delete(rule_id uuid) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from gateway.alert_rules r where r.id = rules_delete.rule_id;
  return jsonb_build_object('deleted', found);
end $$;

-- Channels ------------------------------------------------------------------------------------------------------------

create function public.channels_list() returns jsonb language sql security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(gateway.channel_document(c) order by c.created_at, c.id), '[]')
  from gateway.alert_channels c where c.deleted_at is null
$$;

-- Inserts a channel without an id, replaces the one with it and keeps its kind and secret. Null when there is no such
-- channel. Switching one on forgets why Headroom switched it off.
create function public.channels_save(channel jsonb) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  saved gateway.alert_channels;
begin
  if channel ->> 'id' is null then
    insert into gateway.alert_channels (kind, name, enabled, settings, secret)
    values (channel ->> 'kind', channel ->> 'name', (channel ->> 'enabled')::boolean, channel -> 'settings', channel ->> 'secret')
    returning * into saved;
  else
    update gateway.alert_channels c set
      name = channel ->> 'name', enabled = (channel ->> 'enabled')::boolean, settings = channel -> 'settings',
      disabled_reason = case when (channel ->> 'enabled')::boolean then null else c.disabled_reason end,
      failures = case when (channel ->> 'enabled')::boolean and not c.enabled then 0 else c.failures end
    where c.id = (channel ->> 'id')::uuid and c.kind = channel ->> 'kind' and c.deleted_at is null
    returning * into saved;
  end if;
  return case when saved.id is null then null else gateway.channel_document(saved) end;
end $$;

-- Puts a new sealed secret first; the old one keeps signing beside it for the time given.
create function public.channels_rotate(channel_id uuid, secret text, keep_seconds integer) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  saved gateway.alert_channels;
begin
  update gateway.alert_channels c set
    previous_secret = c.secret, previous_secret_until = now() + make_interval(secs => keep_seconds),
    secret = channels_rotate.secret
  where c.id = channels_rotate.channel_id and c.secret is not null and c.deleted_at is null
  returning * into saved;
  return case when saved.id is null then null else gateway.channel_document(saved) end;
end $$;

create function public.channels_delete(channel_id uuid) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone boolean;
begin
  update gateway.alert_channels c
  set deleted_at = now(), enabled = false, settings = '{}', secret = null, previous_secret = null
  where c.id = channels_delete.channel_id and c.deleted_at is null;
  gone := found;
  if gone then
    -- A rule that named this channel names one fewer; one that named only it tells nobody, and does not suddenly tell all.
    update gateway.alert_rules r set channel_ids = array_remove(r.channel_ids, channels_delete.channel_id)
    where channels_delete.channel_id = any (r.channel_ids);
    update gateway.notifications n set state = 'dropped', next_attempt_at = null
    where n.channel_id = channels_delete.channel_id and n.state = 'waiting' and n.lease_until is null;
  end if;
  return jsonb_build_object('deleted', gone);
end $$;

-- Alerts --------------------------------------------------------------------------------------------------------------

-- Newest first; ids are version 7 UUIDs, so the primary key is the order. `pending` is left out unless asked for.
create function public.alerts_list(filter jsonb) returns jsonb language sql security definer set search_path = pg_catalog, pg_temp as $$
  with page as (
    select a.* from gateway.alerts a
    where (filter ->> 'cursor' is null or a.id < (filter ->> 'cursor')::uuid)
      and case when filter ->> 'state' is null then a.state <> 'pending' else a.state = filter ->> 'state' end
      and (filter ->> 'rule' is null or a.rule_id = (filter ->> 'rule')::uuid)
      and (filter ->> 'upstream' is null or a.upstream = filter ->> 'upstream')
      and (filter ->> 'pool' is null or a.pool = filter ->> 'pool')
      and (filter ->> 'from' is null or coalesce(a.resolved_at, 'infinity') >= (filter ->> 'from')::timestamptz)
      and (filter ->> 'to' is null or a.pending_since < (filter ->> 'to')::timestamptz)
    order by a.id desc
    limit (filter ->> 'limit')::integer + 1),
  kept as (select p.* from page p order by p.id desc limit (filter ->> 'limit')::integer)
  select jsonb_build_object(
    'alerts', coalesce((select jsonb_agg(gateway.alert_document(k::gateway.alerts) order by k.id desc) from kept k), '[]'),
    'nextCursor', case when (select count(*) from page) > (filter ->> 'limit')::integer
      then (select k.id from kept k order by k.id limit 1) end)
$$;

create function public.alerts_get(alert_id uuid) returns jsonb language sql security definer set search_path = pg_catalog, pg_temp as $$
  select (select gateway.alert_document(a) from gateway.alerts a where a.id = alerts_get.alert_id)
$$;

-- Every open incident with what an evaluator needs to carry on where another left off.
create function public.alerts_open() returns jsonb language sql security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'alert', gateway.alert_document(a), 'version', a.version, 'told', a.told, 'updatedAt', gateway.iso(a.updated_at))
    order by a.id), '[]')
  from gateway.alerts a where a.state <> 'resolved'
$$;

-- Writes changes of incidents and the notices they owe, all or nothing.
--
-- A transition is {alert, expectedVersion, told, at, remove, events: [{event, number}], channelIds}. expectedVersion 0
-- inserts. One whose incident has moved on, or was opened by another gateway first, is not applied: its answer says so
-- and its sender reads again. Sending a transition twice, after an answer was lost, is therefore harmless.
create function public.alerts_record(transitions jsonb) returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  transition jsonb;
  doc jsonb;
  happening jsonb;
  expected integer;
  applied boolean;
  written integer;
  notices integer := 0;
  results jsonb := '[]';
begin
  -- In one order for everybody, so that two writers lock alike.
  for transition in select t from jsonb_array_elements(transitions) t order by t -> 'alert' ->> 'id' loop
    doc := transition -> 'alert';
    expected := (transition ->> 'expectedVersion')::integer;
    if (transition ->> 'remove')::boolean then
      delete from gateway.alerts a
      where a.id = (doc ->> 'id')::uuid and a.state = 'pending' and a.version = greatest(expected, 1);
      results := results || jsonb_build_object('id', doc ->> 'id', 'applied', found, 'version', expected);
      continue;
    end if;
    if expected = 0 then
      insert into gateway.alerts
        (id, rule_id, rule_name, severity, state, upstream, pool, pool_name, lane, limiter, threshold, utilisation, used,
         "limit", limit_source, peak_utilisation, top_agents, pending_since, fired_at, recovering_since, resolved_at,
         resolved_reason, told, version, updated_at)
      values
        ((doc ->> 'id')::uuid, (doc ->> 'ruleId')::uuid, doc ->> 'ruleName', doc ->> 'severity', doc ->> 'state',
         doc ->> 'upstream', doc ->> 'pool', doc ->> 'poolName', doc ->> 'lane', doc ->> 'limiter',
         (doc ->> 'threshold')::double precision, (doc ->> 'utilisation')::double precision,
         (doc ->> 'used')::double precision, (doc ->> 'limit')::bigint, doc ->> 'limitSource',
         (doc ->> 'peakUtilisation')::double precision, doc -> 'topAgents', (doc ->> 'pendingSince')::timestamptz,
         (doc ->> 'firedAt')::timestamptz, (doc ->> 'recoveringSince')::timestamptz,
         (doc ->> 'resolvedAt')::timestamptz, doc ->> 'resolvedReason', (transition ->> 'told')::integer, 1,
         (transition ->> 'at')::timestamptz)
      on conflict do nothing;
    else
      update gateway.alerts a set
        rule_name = doc ->> 'ruleName', severity = doc ->> 'severity', state = doc ->> 'state',
        pool_name = doc ->> 'poolName', threshold = (doc ->> 'threshold')::double precision,
        utilisation = (doc ->> 'utilisation')::double precision, used = (doc ->> 'used')::double precision,
        "limit" = (doc ->> 'limit')::bigint, limit_source = doc ->> 'limitSource',
        peak_utilisation = (doc ->> 'peakUtilisation')::double precision, top_agents = doc -> 'topAgents',
        pending_since = (doc ->> 'pendingSince')::timestamptz, fired_at = (doc ->> 'firedAt')::timestamptz,
        recovering_since = (doc ->> 'recoveringSince')::timestamptz, resolved_at = (doc ->> 'resolvedAt')::timestamptz,
        resolved_reason = doc ->> 'resolvedReason', told = (transition ->> 'told')::integer, version = expected + 1,
        updated_at = (transition ->> 'at')::timestamptz
      where a.id = (doc ->> 'id')::uuid and a.version = expected and a.state <> 'resolved';
    end if;
    applied := found;
    results := results || jsonb_build_object('id', doc ->> 'id', 'applied', applied, 'version', expected + 1);
    if not applied then
      continue;
    end if;

    for happening in select e from jsonb_array_elements(transition -> 'events') with ordinality o (e, n) order by n loop
      if happening ->> 'event' = 'alert.firing' then
        insert into gateway.notifications (alert_id, channel_id, event, event_number, snapshot)
        select (doc ->> 'id')::uuid, c.id, 'alert.firing', (happening ->> 'number')::integer, doc
        from gateway.alert_channels c
        where c.enabled and c.deleted_at is null
          and (jsonb_typeof(transition -> 'channelIds') is distinct from 'array'
               or transition -> 'channelIds' @> to_jsonb(c.id::text))
        on conflict do nothing;
      else
        -- Workers keep off these rows until this commits, or the one that has them now is waited for: otherwise a firing
        -- claimed just now would be delivered and never resolved.
        perform 1 from gateway.notifications f
        where f.alert_id = (doc ->> 'id')::uuid and f.event = 'alert.firing' order by f.id for update;
        -- A resolve goes to whoever heard, may have heard, or is hearing right now that it fired. Who has not been told
        -- yet needs neither.
        insert into gateway.notifications (alert_id, channel_id, event, event_number, snapshot)
        select distinct (doc ->> 'id')::uuid, c.id, 'alert.resolved', (happening ->> 'number')::integer, doc
        from gateway.notifications f join gateway.alert_channels c on c.id = f.channel_id
        where f.alert_id = (doc ->> 'id')::uuid and f.event = 'alert.firing' and c.enabled and c.deleted_at is null
          and (f.state = 'delivered' or f.uncertain or f.lease_until is not null)
        on conflict do nothing;
        get diagnostics written = row_count;
        notices := notices + written;
        update gateway.notifications f set state = 'dropped', next_attempt_at = null
        where f.alert_id = (doc ->> 'id')::uuid and f.event = 'alert.firing' and f.state = 'waiting'
          and f.lease_until is null and not f.replayed;
        continue;
      end if;
      get diagnostics written = row_count;
      notices := notices + written;
    end loop;
  end loop;
  return jsonb_build_object('results', results, 'notices', notices);
end $$;

-- Notifications -------------------------------------------------------------------------------------------------------

create function public.notifications_list(filter jsonb) returns jsonb language sql security definer set search_path = pg_catalog, pg_temp as $$
  with page as (
    select n.* from gateway.notifications n
    where (filter ->> 'cursor' is null or n.seq < (filter ->> 'cursor')::bigint)
      and (filter ->> 'alert' is null or n.alert_id = (filter ->> 'alert')::uuid)
      and (filter ->> 'channel' is null or n.channel_id = (filter ->> 'channel')::uuid)
      and (filter ->> 'state' is null or n.state = filter ->> 'state')
    order by n.seq desc
    limit (filter ->> 'limit')::integer + 1),
  kept as (select p.* from page p order by p.seq desc limit (filter ->> 'limit')::integer)
  select jsonb_build_object(
    'notifications', coalesce((select jsonb_agg(gateway.notification_document(k::gateway.notifications) order by k.seq desc) from kept k), '[]'),
    'nextCursor', case when (select count(*) from page) > (filter ->> 'limit')::integer
      then (select min(k.seq)::text from kept k) end)
$$;

-- Hands out what is due, each row to one worker until its lease ends. A resolve waits while its firing is in flight to
-- the same channel, so a receiver never hears them in the wrong order. A row whose last lease ran out unfinished may
-- have been sent: it is marked so. Leans on notifications_due.
create function public.notifications_claim(holder text, max_rows integer, lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  claimed jsonb;
begin
  update gateway.notifications n set state = 'dropped', next_attempt_at = null
  from gateway.alert_channels c
  where n.state = 'waiting' and c.id = n.channel_id and not c.enabled and n.event <> 'alert.test'
    and (n.lease_until is null or n.lease_until < now());

  with due as (
    select n.id from gateway.notifications n
    where n.state = 'waiting' and n.next_attempt_at <= now() and (n.lease_until is null or n.lease_until < now())
      and (n.event <> 'alert.resolved' or not exists (
        select 1 from gateway.notifications f
        where f.alert_id = n.alert_id and f.channel_id = n.channel_id and f.event = 'alert.firing'
          and f.state = 'waiting'))
    order by n.next_attempt_at, n.seq
    limit max_rows
    for update skip locked),
  taken as (
    update gateway.notifications n set
      lease_holder = holder, lease_until = now() + make_interval(secs => lease_seconds), attempts = n.attempts + 1,
      uncertain = n.uncertain or n.lease_until is not null
    from due where n.id = due.id
    returning n.*)
  select jsonb_agg(gateway.claim_document(t::gateway.notifications) order by t.seq) into claimed from taken t;

  return jsonb_build_object(
    'claims', coalesce(claimed, '[]'),
    'nextInSeconds', (
      select extract(epoch from min(greatest(n.next_attempt_at, n.lease_until)) - now())::double precision
      from gateway.notifications n where n.state = 'waiting'));
end $$;

-- Records how an attempt ended. result: {outcome: delivered | retry | failed | dropped, status, latencyMs, answer,
-- retryInSeconds, uncertain, disableReason}. Ignored when the lease has gone to another worker. A channel that gave up
-- five events in a row is switched off.
create function public.notifications_finish(notification_id uuid, holder text, result jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  n gateway.notifications;
  outcome text := result ->> 'outcome';
  misses integer;
  reason text := result ->> 'disableReason';
begin
  select * into n from gateway.notifications x where x.id = notification_id for update;
  if n.id is null or n.state <> 'waiting' or n.lease_holder is distinct from holder then
    return jsonb_build_object('recorded', false, 'disabledReason', null);
  end if;
  -- The incident ended, or the channel was switched off, while this attempt failed: nothing is left to tell.
  if outcome = 'retry' and not n.replayed and (
    (n.event = 'alert.firing' and exists (select 1 from gateway.alerts a where a.id = n.alert_id and a.state = 'resolved'))
    or exists (select 1 from gateway.alert_channels c where c.id = n.channel_id and not c.enabled)) then
    outcome := 'dropped';
  end if;
  update gateway.notifications x set
    state = case outcome when 'retry' then 'waiting' else outcome end,
    next_attempt_at = case outcome when 'retry'
      then now() + make_interval(secs => (result ->> 'retryInSeconds')::double precision) end,
    lease_holder = null, lease_until = null,
    uncertain = x.uncertain or coalesce((result ->> 'uncertain')::boolean, false),
    delivered_at = case outcome when 'delivered' then now() else x.delivered_at end,
    last_status = coalesce((result ->> 'status')::integer, case when result ? 'latencyMs' then null else x.last_status end),
    last_latency_ms = coalesce((result ->> 'latencyMs')::double precision, x.last_latency_ms),
    last_answer = coalesce(result ->> 'answer', x.last_answer)
  where x.id = notification_id;

  if n.event <> 'alert.test' then
    if outcome = 'delivered' then
      update gateway.alert_channels c set failures = 0 where c.id = n.channel_id and c.failures <> 0;
    elsif outcome = 'failed' then
      update gateway.alert_channels c set failures = c.failures + 1 where c.id = n.channel_id returning c.failures into misses;
      if reason is null and misses >= 5 then
        reason := misses || ' alerts in a row could not be delivered; the last answer was: ' || coalesce(left(result ->> 'answer', 200), 'none');
      end if;
    end if;
    if reason is not null then
      perform gateway.disable_channel(n.channel_id, reason);
    end if;
  end if;
  return jsonb_build_object('recorded', true, 'disabledReason', case when n.event <> 'alert.test' then reason end);
end $$;

-- Sends a notice once more, under the same id, so that a receiver that has it already can tell. Null when unknown.
create function public.notifications_replay(notification_id uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  n gateway.notifications;
begin
  update gateway.notifications x set
    state = 'waiting', next_attempt_at = now(), trying_since = now(), replayed = true, lease_holder = null, lease_until = null
  where x.id = notification_id and x.state <> 'waiting'
  returning * into n;
  if n.id is null then
    select * into n from gateway.notifications x where x.id = notification_id;
  end if;
  return case when n.id is null then null else gateway.notification_document(n) end;
end $$;

-- Opens a test notice, already claimed by its sender. Works for a channel that is switched off, which is when it is
-- wanted. Null when there is no such channel.
create function public.notifications_test(channel_id uuid, holder text, lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  n gateway.notifications;
begin
  insert into gateway.notifications (channel_id, event, event_number, attempts, lease_holder, lease_until)
  select c.id, 'alert.test', 1, 1, holder, now() + make_interval(secs => lease_seconds)
  from gateway.alert_channels c where c.id = notifications_test.channel_id and c.deleted_at is null
  returning * into n;
  return case when n.id is null then null else gateway.claim_document(n) end;
end $$;

create function public.notifications_get(notification_id uuid) returns jsonb language sql security definer set search_path = pg_catalog, pg_temp as $$
  select (select gateway.notification_document(n) from gateway.notifications n where n.id = notifications_get.notification_id)
$$;

-- Only the gateway's own role may call these; PostgreSQL would otherwise let everybody.
revoke execute on function
  gateway.rule_document(gateway.alert_rules), gateway.channel_document(gateway.alert_channels),
  gateway.alert_document(gateway.alerts), gateway.notification_document(gateway.notifications),
  gateway.claim_document(gateway.notifications), gateway.disable_channel(uuid, text)
from public;

do $$
declare
  signature text;
begin
  foreach signature in array array[
    'rules_list()', 'rules_save(jsonb)', 'rules_delete(uuid)',
    'channels_list()', 'channels_save(jsonb)', 'channels_rotate(uuid, text, integer)', 'channels_delete(uuid)',
    'alerts_list(jsonb)', 'alerts_get(uuid)', 'alerts_open()', 'alerts_record(jsonb)',
    'notifications_list(jsonb)', 'notifications_claim(text, integer, integer)', 'notifications_finish(uuid, text, jsonb)',
    'notifications_replay(uuid)', 'notifications_test(uuid, text, integer)', 'notifications_get(uuid)'
  ] loop
    execute format('revoke execute on function public.%s from public, anon, authenticated', signature);
    execute format('grant execute on function public.%s to service_role', signature);
  end loop;
end $$;

-- One rule to begin with; deleting it is for good.
insert into gateway.alert_rules
  (name, kind, enabled, scope, severity, threshold, pending_seconds, recovery_threshold, recovery_seconds, channel_ids)
select 'Limit at 80 %', 'utilisation', true, '{}', 'warning', 0.8, 10, 0.7, 120, null
where not exists (select 1 from gateway.alert_rules);

notify pgrst, 'reload schema';
