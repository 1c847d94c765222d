-- Usage: every call once, in daily partitions; its sums by minute and by hour; its latencies as histograms.
--
-- The key of a call is (started_at, id), and only rows that were really inserted reach the sums, so a batch may be sent
-- again after a lost answer. Days are UTC days. Raw rows, minute sums and minute histograms lie in one partition a day
-- and are dropped a day at a time; hours are kept for ever. There is no default partition: it would block the making of
-- later ones.
--
-- No engine of ours can be told the time zone it runs in, so nothing here may depend on it: buckets are cut by date_bin
-- from the epoch, and a day is 24 hours.

create table gateway.calls (
  id uuid not null,
  started_at timestamptz not null,
  agent text not null,
  agent_source text not null,
  agent_key_id uuid,
  session text,
  client text,
  upstream text not null,
  pool text,
  lane text not null check (lane in ('standard', 'priority', 'fast')),
  model text,
  method text not null,
  endpoint text not null,
  streamed boolean not null,
  status int,
  outcome text not null check (outcome in ('succeeded', 'partial', 'refused', 'failed', 'canceled')),
  refusal text,
  error_type text,
  error_code text,
  input_tokens bigint not null check (input_tokens >= 0),
  cache_write_tokens bigint not null check (cache_write_tokens >= 0),
  cache_write_5m_tokens bigint not null check (cache_write_5m_tokens >= 0),
  cache_write_1h_tokens bigint not null check (cache_write_1h_tokens >= 0),
  cache_read_tokens bigint not null check (cache_read_tokens >= 0),
  output_tokens bigint not null check (output_tokens >= 0),
  web_search_requests int not null check (web_search_requests >= 0),
  cost_nano_usd bigint check (cost_nano_usd >= 0),
  rate_limit_headers jsonb not null,
  latency_ms double precision not null check (latency_ms >= 0),
  ttft_ms double precision check (ttft_ms >= 0),
  output_tokens_per_second double precision,
  wait_ms double precision not null,
  traffic jsonb,
  stop_reason text,
  service_tier text,
  speed text,
  inference_geo text,
  request_id text,
  cache_hit boolean not null default false,
  primary key (started_at, id)
) partition by range (started_at);
alter table gateway.calls enable row level security;

-- A call by its id alone; version 7 ids grow, so this index is written at its right edge.
create index calls_id on gateway.calls (id);
-- Refusals and failures are rare: to list them is not to walk past every success.
create index calls_unserved on gateway.calls (started_at, id) where outcome <> 'succeeded';
-- So are, where no agent asked for a cache, answers from memory.
create index calls_cached on gateway.calls (started_at, id) where cache_hit;
create index calls_session on gateway.calls (session, started_at) where session is not null;
create index calls_request on gateway.calls (request_id) where request_id is not null;

-- '' stands for a pool or model that is not known: a key column cannot be null.
create table gateway.usage_1m (
  bucket timestamptz not null,
  upstream text not null,
  pool text not null,
  model text not null,
  agent text not null,
  calls bigint not null,
  refused_calls bigint not null,
  failed_calls bigint not null,
  partial_calls bigint not null,
  input_tokens bigint not null,
  cache_write_tokens bigint not null,
  cache_write_5m_tokens bigint not null,
  cache_write_1h_tokens bigint not null,
  cache_read_tokens bigint not null,
  output_tokens bigint not null,
  web_search_requests bigint not null,
  cost_nano_usd bigint not null,
  unpriced_calls bigint not null,
  primary key (bucket, upstream, pool, model, agent)
) partition by range (bucket);
alter table gateway.usage_1m enable row level security;

-- A third of each page is left free, so that the many updates of a sum stay on its page and touch no index.
create table gateway.usage_1h (like gateway.usage_1m including indexes) with (fillfactor = 70);
alter table gateway.usage_1h enable row level security;

-- Sparse: n calls in bucket b of gateway.latency_bucket.
create table gateway.latency_hist_1m (
  bucket timestamptz not null,
  model text not null,
  metric text not null,
  b smallint not null,
  n bigint not null,
  primary key (bucket, model, metric, b)
) partition by range (bucket);
alter table gateway.latency_hist_1m enable row level security;

create table gateway.latency_hist_1h (like gateway.latency_hist_1m including indexes) with (fillfactor = 70);
alter table gateway.latency_hist_1h enable row level security;

-- One row: how many days of raw calls are kept, and from when on each detail still is. What lies before was dropped,
-- and a call from then is refused: its day would be made anew and its sums counted twice.
create table gateway.retention (
  only_row boolean primary key default true check (only_row),
  raw_days int not null default 30,
  calls_from timestamptz not null default '-infinity',
  minutes_from timestamptz not null default '-infinity',
  histograms_from timestamptz not null default '-infinity'
);
alter table gateway.retention enable row level security;
insert into gateway.retention default values;

-- Buckets of equal ratio 1.04: any quantile is at most 2 % off. lib/usage/histogram.ts has the same two formulas, and a
-- test compares them. The 1e-9 keeps logarithms of two mathematics libraries from disagreeing at a bucket's edge.
create function gateway.latency_bucket(ms double precision) returns smallint
language sql immutable parallel safe
as $$
  select case when ms <= 1 then 0 else greatest(0, ceil(ln(ms) / ln(1.04::double precision) - 1e-9)) end::smallint
$$;
revoke execute on function gateway.latency_bucket(double precision) from public;

create function gateway.latency_value(b int) returns double precision
language sql immutable parallel safe
as $$ select 2 * power(1.04::double precision, b) / 2.04 $$;
revoke execute on function gateway.latency_value(int) from public;

-- A call as lib/usage/schema.ts knows it.
create function gateway.call_json(c gateway.calls) returns jsonb
language sql stable parallel safe
as $$
  select jsonb_build_object(
    'id', c.id, 'startedAt', gateway.iso(c.started_at), 'agent', c.agent, 'agentSource', c.agent_source,
    'agentKeyId', c.agent_key_id, 'session', c.session, 'client', c.client, 'upstream', c.upstream, 'pool', c.pool,
    'lane', c.lane, 'model', c.model, 'method', c.method, 'endpoint', c.endpoint, 'streamed', c.streamed,
    'status', c.status, 'outcome', c.outcome, 'refusal', c.refusal, 'errorType', c.error_type,
    'errorCode', c.error_code, 'inputTokens', c.input_tokens, 'cacheWriteTokens', c.cache_write_tokens,
    'cacheWrite5mTokens', c.cache_write_5m_tokens, 'cacheWrite1hTokens', c.cache_write_1h_tokens,
    'cacheReadTokens', c.cache_read_tokens, 'outputTokens', c.output_tokens,
    'webSearchRequests', c.web_search_requests, 'costNanoUsd', c.cost_nano_usd,
    'rateLimitHeaders', c.rate_limit_headers, 'latencyMs', c.latency_ms, 'ttftMs', c.ttft_ms,
    'outputTokensPerSecond', c.output_tokens_per_second, 'waitMs', c.wait_ms, 'traffic', c.traffic,
    'stopReason', c.stop_reason,
    'serviceTier', c.service_tier, 'speed', c.speed, 'inferenceGeo', c.inference_geo, 'requestId', c.request_id,
    'cacheHit', c.cache_hit)
$$;
revoke execute on function gateway.call_json(gateway.calls) from public;

-- Makes a day's partition of one table unless it is there. It is made aside and attached, which, unlike CREATE …
-- PARTITION OF, lets readers and writers of the other days go on. The lock is held to the end of the transaction, and
-- retention_apply takes it too, so that a day is not made and dropped at once.
create function gateway.ensure_day(parent text, day timestamptz) returns void
language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  child text := parent || '_' || to_char(day at time zone 'UTC', 'YYYYMMDD');
begin
  if to_regclass('gateway.' || child) is not null then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtext('gateway partitions'));
  -- Asked of the catalog itself: to_regclass answers from a cache that does not know yet what was made meanwhile.
  if exists (select from pg_class c where c.relnamespace = 'gateway'::regnamespace and c.relname = child) then
    return;
  end if;
  execute format('create table gateway.%I (like gateway.%I including constraints including indexes) %s', child, parent,
    case when parent <> 'calls' then 'with (fillfactor = 70)' end);
  execute format('alter table gateway.%I enable row level security', child);
  execute format('alter table gateway.%I attach partition gateway.%I for values from (%L) to (%L)', parent, child,
    gateway.iso(day), gateway.iso(day + interval '24 hours'));
end
$$;
revoke execute on function gateway.ensure_day(text, timestamptz) from public;

-- ---------------------------------------------------------------------------------------------------------- recording

-- Takes a batch of calls, each at most once, and brings every sum up to date in the same transaction. Days first: to
-- make one takes locks that must come before those of rows. Each upsert goes in the order of its key, so that two
-- gateways cannot wait for each other. A key that is absent, as from an older gateway, takes its neutral value.
-- Leans on the primary keys of all five tables.
create function public.calls_record(rows jsonb) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  keep gateway.retention;
  day timestamptz;
  oldest timestamptz;
  newest timestamptz;
  inserted int;
begin
  if jsonb_typeof(rows) is distinct from 'array' then
    raise exception 'rows must be an array of calls, not %', coalesce(jsonb_typeof(rows), 'null') using errcode = '22023';
  end if;
  select * into strict keep from gateway.retention;
  keep.calls_from := greatest(keep.calls_from,
    date_bin('24 hours', now() - make_interval(hours => 24 * keep.raw_days), 'epoch'));
  select min((r.value ->> 'startedAt')::timestamptz), max((r.value ->> 'startedAt')::timestamptz)
    into oldest, newest from jsonb_array_elements(rows) r;
  if newest > now() + interval '24 hours' then
    raise exception 'a call says that it started at %, more than a day ahead of the database: check the clocks',
      gateway.iso(newest) using errcode = '22023';
  end if;
  if oldest < keep.calls_from then
    raise exception 'a call says that it started at %, and calls before % are not kept any more',
      gateway.iso(oldest), gateway.iso(keep.calls_from) using errcode = '22023';
  end if;
  for day in
    select distinct date_bin('24 hours', (r.value ->> 'startedAt')::timestamptz, 'epoch') d
    from jsonb_array_elements(rows) r where r.value ->> 'startedAt' is not null order by d
  loop
    perform gateway.ensure_day('calls', day);
    if day >= keep.minutes_from then
      perform gateway.ensure_day('usage_1m', day);
    end if;
    if day >= keep.histograms_from then
      perform gateway.ensure_day('latency_hist_1m', day);
    end if;
  end loop;

  with new_calls as (
    insert into gateway.calls (
      id, started_at, agent, agent_source, agent_key_id, session, client, upstream, pool, lane, model, method, endpoint,
      streamed, status, outcome, refusal, error_type, error_code, input_tokens, cache_write_tokens,
      cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, output_tokens, web_search_requests,
      cost_nano_usd, rate_limit_headers, latency_ms, ttft_ms, output_tokens_per_second, wait_ms, traffic, stop_reason,
      service_tier, speed, inference_geo, request_id, cache_hit)
    select
      -- Milliseconds, as JavaScript has them: what is read is then what is stored.
      r.id, date_trunc('milliseconds', r."startedAt"), r.agent, coalesce(r."agentSource", 'unknown'), r."agentKeyId",
      r.session, r.client, r.upstream, r.pool, coalesce(r.lane, 'standard'), r.model, r.method, r.endpoint,
      coalesce(r.streamed, false), r.status, r.outcome, r.refusal, r."errorType", r."errorCode",
      coalesce(r."inputTokens", 0), coalesce(r."cacheWriteTokens", 0), coalesce(r."cacheWrite5mTokens", 0),
      coalesce(r."cacheWrite1hTokens", 0), coalesce(r."cacheReadTokens", 0), coalesce(r."outputTokens", 0),
      coalesce(r."webSearchRequests", 0), r."costNanoUsd", coalesce(r."rateLimitHeaders", '{}'), r."latencyMs",
      r."ttftMs", r."outputTokensPerSecond", coalesce(r."waitMs", 0), r.traffic, r."stopReason", r."serviceTier", r.speed,
      r."inferenceGeo", r."requestId", coalesce(r."cacheHit", false)
    from jsonb_to_recordset(rows) as r (
      id uuid, "startedAt" timestamptz, agent text, "agentSource" text, "agentKeyId" uuid, session text, client text,
      upstream text, pool text, lane text, model text, method text, endpoint text, streamed boolean, status int,
      outcome text, refusal text, "errorType" text, "errorCode" text, "inputTokens" bigint, "cacheWriteTokens" bigint,
      "cacheWrite5mTokens" bigint, "cacheWrite1hTokens" bigint, "cacheReadTokens" bigint, "outputTokens" bigint,
      "webSearchRequests" int, "costNanoUsd" bigint, "rateLimitHeaders" jsonb, "latencyMs" double precision,
      "ttftMs" double precision, "outputTokensPerSecond" double precision, "waitMs" double precision, traffic jsonb,
      "stopReason" text, "serviceTier" text, speed text, "inferenceGeo" text, "requestId" text,
      "cacheHit" boolean)
    order by r."startedAt", r.id
    on conflict (started_at, id) do nothing
    returning *
  ), minutes as (
    select date_bin('1 minute', c.started_at, 'epoch') bucket, c.upstream, coalesce(c.pool, '') pool,
      coalesce(c.model, '') model, c.agent,
      count(*) calls,
      count(*) filter (where c.status in (429, 529)) refused_calls,
      count(*) filter (where c.outcome = 'failed') failed_calls,
      count(*) filter (where c.outcome = 'partial') partial_calls,
      sum(c.input_tokens)::bigint input_tokens,
      sum(c.cache_write_tokens)::bigint cache_write_tokens,
      sum(c.cache_write_5m_tokens)::bigint cache_write_5m_tokens,
      sum(c.cache_write_1h_tokens)::bigint cache_write_1h_tokens,
      sum(c.cache_read_tokens)::bigint cache_read_tokens,
      sum(c.output_tokens)::bigint output_tokens,
      sum(c.web_search_requests)::bigint web_search_requests,
      coalesce(sum(c.cost_nano_usd), 0)::bigint cost_nano_usd,
      count(*) filter (where c.cost_nano_usd is null) unpriced_calls
    from new_calls c group by 1, 2, 3, 4, 5
  ), by_minute as (
    insert into gateway.usage_1m as t
    select * from minutes m where m.bucket >= keep.minutes_from
    order by bucket, upstream, pool, model, agent
    on conflict (bucket, upstream, pool, model, agent) do update set
      calls = t.calls + excluded.calls,
      refused_calls = t.refused_calls + excluded.refused_calls,
      failed_calls = t.failed_calls + excluded.failed_calls,
      partial_calls = t.partial_calls + excluded.partial_calls,
      input_tokens = t.input_tokens + excluded.input_tokens,
      cache_write_tokens = t.cache_write_tokens + excluded.cache_write_tokens,
      cache_write_5m_tokens = t.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
      cache_write_1h_tokens = t.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
      cache_read_tokens = t.cache_read_tokens + excluded.cache_read_tokens,
      output_tokens = t.output_tokens + excluded.output_tokens,
      web_search_requests = t.web_search_requests + excluded.web_search_requests,
      cost_nano_usd = t.cost_nano_usd + excluded.cost_nano_usd,
      unpriced_calls = t.unpriced_calls + excluded.unpriced_calls
  ), by_hour as (
    insert into gateway.usage_1h as t
    select date_bin('1 hour', m.bucket, 'epoch'), m.upstream, m.pool, m.model, m.agent, sum(m.calls),
      sum(m.refused_calls), sum(m.failed_calls), sum(m.partial_calls), sum(m.input_tokens), sum(m.cache_write_tokens),
      sum(m.cache_write_5m_tokens), sum(m.cache_write_1h_tokens), sum(m.cache_read_tokens), sum(m.output_tokens),
      sum(m.web_search_requests), sum(m.cost_nano_usd), sum(m.unpriced_calls)
    from minutes m group by 1, 2, 3, 4, 5
    order by 1, 2, 3, 4, 5
    on conflict (bucket, upstream, pool, model, agent) do update set
      calls = t.calls + excluded.calls,
      refused_calls = t.refused_calls + excluded.refused_calls,
      failed_calls = t.failed_calls + excluded.failed_calls,
      partial_calls = t.partial_calls + excluded.partial_calls,
      input_tokens = t.input_tokens + excluded.input_tokens,
      cache_write_tokens = t.cache_write_tokens + excluded.cache_write_tokens,
      cache_write_5m_tokens = t.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
      cache_write_1h_tokens = t.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
      cache_read_tokens = t.cache_read_tokens + excluded.cache_read_tokens,
      output_tokens = t.output_tokens + excluded.output_tokens,
      web_search_requests = t.web_search_requests + excluded.web_search_requests,
      cost_nano_usd = t.cost_nano_usd + excluded.cost_nano_usd,
      unpriced_calls = t.unpriced_calls + excluded.unpriced_calls
  ), latencies as (
    -- Calls that the upstream answered only: a refusal within 30 ms would flatter the percentiles, and so would an
    -- answer from memory. Of a batch's requests none is known.
    select date_bin('1 minute', c.started_at, 'epoch') bucket, coalesce(c.model, '') model, v.metric,
      gateway.latency_bucket(v.ms) b, count(*) n
    from new_calls c cross join lateral (values ('latency', c.latency_ms), ('ttft', c.ttft_ms)) v (metric, ms)
    where v.ms is not null and c.outcome in ('succeeded', 'partial') and c.service_tier is distinct from 'batch'
      and not c.cache_hit
    group by 1, 2, 3, 4
  ), histogram_by_minute as (
    insert into gateway.latency_hist_1m as t
    select * from latencies l where l.bucket >= keep.histograms_from
    order by bucket, model, metric, b
    on conflict (bucket, model, metric, b) do update set n = t.n + excluded.n
  ), histogram_by_hour as (
    insert into gateway.latency_hist_1h as t
    select date_bin('1 hour', l.bucket, 'epoch'), l.model, l.metric, l.b, sum(l.n) from latencies l group by 1, 2, 3, 4
    order by 1, 2, 3, 4
    on conflict (bucket, model, metric, b) do update set n = t.n + excluded.n
  )
  select count(*) into inserted from new_calls;
  return jsonb_build_object('inserted', inserted);
end
$$;
revoke execute on function public.calls_record(jsonb) from public, anon, authenticated;
grant execute on function public.calls_record(jsonb) to service_role;

-- Drops what is older than each detail's time, whole days at once, and returns the names of what went. A day whose lock
-- cannot be had within a second waits for the next time, with those after it. `raw_days` also bounds what calls_record
-- takes. Leans on the catalog alone.
create function public.retention_apply(raw_days int, minute_days int, histogram_hours int) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  keep gateway.retention;
  child record;
  dropped text[] := '{}';
begin
  if least(raw_days, minute_days) < 1 or histogram_hours < 1 or raw_days is null or minute_days is null
    or histogram_hours is null or greatest(raw_days, minute_days) > 36500 or histogram_hours > 876000 then
    raise exception 'keep at least one day of calls and minutes and one hour of histograms, not %, % and %',
      raw_days, minute_days, histogram_hours using errcode = '22023';
  end if;
  perform pg_advisory_xact_lock(hashtext('gateway partitions'));
  perform set_config('lock_timeout', '1s', true);
  update gateway.retention r set
    raw_days = retention_apply.raw_days,
    calls_from = greatest(r.calls_from, date_bin('24 hours',
      now() - make_interval(hours => 24 * retention_apply.raw_days), 'epoch')),
    minutes_from = greatest(r.minutes_from, date_bin('24 hours',
      now() - make_interval(hours => 24 * minute_days), 'epoch')),
    histograms_from = greatest(r.histograms_from, date_bin('24 hours',
      now() - make_interval(hours => histogram_hours), 'epoch'))
  returning * into keep;
  for child in
    select c.relname, to_timestamp(right(c.relname, 8) || ' +00', 'YYYYMMDD TZH') as day,
      case p.relname when 'calls' then keep.calls_from when 'usage_1m' then keep.minutes_from
        else keep.histograms_from end as kept_from
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    join pg_class p on p.oid = i.inhparent
    where p.relnamespace = 'gateway'::regnamespace and p.relkind = 'p'
      and p.relname in ('calls', 'usage_1m', 'latency_hist_1m')
    order by p.relname, c.relname
  loop
    continue when child.day >= child.kept_from;
    begin
      execute format('drop table gateway.%I', child.relname);
    exception when lock_not_available then
      exit;
    end;
    dropped := dropped || child.relname::text;
  end loop;
  return jsonb_build_object('dropped', dropped);
end
$$;
revoke execute on function public.retention_apply(int, int, int) from public, anon, authenticated;
grant execute on function public.retention_apply(int, int, int) to service_role;

-- ------------------------------------------------------------------------------------------------------------- calls

-- A page of calls, newest first. The cursor names the last call of the page before, so pages neither repeat nor skip
-- while new calls come in. By the primary key backwards; refusals, sessions and request ids have indexes of their own.
-- Upstream, pool, model and agent have none: the hourly sums tell which hours hold such calls, and only those are read.
create function public.calls_list(filter jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  page int := least(greatest(coalesce((filter ->> 'limit')::int, 100), 1), 1000);
  after_ts timestamptz := coalesce((filter ->> 'from')::timestamptz, '-infinity');
  before_ts timestamptz := coalesce((filter ->> 'to')::timestamptz, 'infinity');
  cursor_parts text[] := regexp_match(filter ->> 'cursor', '^(\d{1,15})_([0-9a-f-]{36})$');
  conditions text := 'true';
  part record;
  found jsonb[] := '{}';
  more jsonb[];
begin
  if cursor_parts is null and filter ->> 'cursor' is not null then
    raise exception 'the cursor is not one that an earlier page gave: leave it out to begin with the newest call'
      using errcode = '22023';
  end if;
  if cursor_parts is not null then
    before_ts := least(before_ts, to_timestamp(cursor_parts[1]::numeric / 1000) + interval '1 millisecond');
    conditions := conditions || format(' and (c.started_at, c.id) < (%L::timestamptz, %L::uuid)',
      gateway.iso(to_timestamp(cursor_parts[1]::numeric / 1000)), cursor_parts[2]);
  end if;
  for part in
    select * from (values
      ('upstream', 'c.upstream = %L'), ('pool', 'c.pool = %L'), ('model', 'c.model = %L'), ('agent', 'c.agent = %L'),
      ('outcome', 'c.outcome = %L'), ('refusal', 'c.refusal = %L and c.outcome <> ''succeeded'''),
      ('status', 'c.status = %L::int'), ('session', 'c.session = %L'), ('requestId', 'c.request_id = %L'),
      ('cacheHit', 'c.cache_hit = %L::boolean')) f (name, test)
    where filter ->> f.name is not null
  loop
    conditions := conditions || ' and ' || format(part.test, filter ->> part.name);
  end loop;
  -- So that the planner sees that the index of unserved calls will do.
  if filter ->> 'outcome' <> 'succeeded' then
    conditions := conditions || ' and c.outcome <> ''succeeded''';
  end if;

  for part in
    select after_ts as starts, before_ts as ends
    where coalesce(filter ->> 'upstream', filter ->> 'pool', filter ->> 'model', filter ->> 'agent') is null
    union all
    (select greatest(u.bucket, after_ts), least(u.bucket + interval '1 hour', before_ts)
    from gateway.usage_1h u
    where coalesce(filter ->> 'upstream', filter ->> 'pool', filter ->> 'model', filter ->> 'agent') is not null
      and u.bucket > after_ts - interval '1 hour' and u.bucket < before_ts
      and (filter ->> 'upstream' is null or u.upstream = filter ->> 'upstream')
      and (filter ->> 'pool' is null or u.pool = filter ->> 'pool')
      and (filter ->> 'model' is null or u.model = filter ->> 'model')
      and (filter ->> 'agent' is null or u.agent = filter ->> 'agent')
    group by u.bucket order by u.bucket desc)
  loop
    execute format(
      'select coalesce(array_agg(gateway.call_json(c) order by c.started_at desc, c.id desc), ''{}'')
       from (select * from gateway.calls c where c.started_at >= %L and c.started_at < %L and %s
             order by c.started_at desc, c.id desc limit %s) c',
      part.starts, part.ends, conditions, page + 1 - cardinality(found)) into more;
    found := found || more;
    exit when cardinality(found) > page;
  end loop;

  return jsonb_build_object(
    'calls', to_jsonb(found[1:page]),
    'nextCursor', case when cardinality(found) > page then
      round(extract(epoch from (found[page] ->> 'startedAt')::timestamptz) * 1000)::bigint || '_' || (found[page] ->> 'id')
    end);
end
$$;
revoke execute on function public.calls_list(jsonb) from public, anon, authenticated;
grant execute on function public.calls_list(jsonb) to service_role;

-- One call, or null. By calls_id in each day's partition.
create function public.calls_get(call_id uuid) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select gateway.call_json(c) from gateway.calls c where c.id = call_id order by c.started_at desc limit 1 $$;
revoke execute on function public.calls_get(uuid) from public, anon, authenticated;
grant execute on function public.calls_get(uuid) to service_role;

-- Whether any call was ever recorded. By the hours, which outlive the calls.
create function public.calls_any() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select jsonb_build_object('any', exists (select from gateway.usage_1h)) $$;
revoke execute on function public.calls_any() from public, anon, authenticated;
grant execute on function public.calls_any() to service_role;

-- Use by the second in which calls started, at most the last hour: warms the live view after a restart. There is no
-- rollup by the second; the primary key serves so short a window. What was answered from memory used nothing.
create function public.calls_seconds(since timestamptz) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('points', coalesce(jsonb_agg(to_jsonb(s) order by s.second), '[]')) from (
    select floor(extract(epoch from c.started_at))::bigint as second, c.upstream, c.pool, c.lane, c.agent,
      count(*) as requests, sum(c.input_tokens) as "inputTokens", sum(c.cache_write_tokens) as "cacheWriteTokens",
      sum(c.cache_read_tokens) as "cacheReadTokens", sum(c.output_tokens) as "outputTokens",
      count(*) filter (where c.outcome = 'refused') as "refusedCalls"
    from gateway.calls c
    where c.started_at >= greatest(since, now() - interval '1 hour') and not c.cache_hit
    group by 1, 2, 3, 4, 5) s
$$;
revoke execute on function public.calls_seconds(timestamptz) from public, anon, authenticated;
grant execute on function public.calls_seconds(timestamptz) to service_role;

-- Refused calls by minute and cause, at most the last 24 hours. By calls_unserved.
create function public.refusals_by_minute(since timestamptz) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('points', coalesce(jsonb_agg(jsonb_build_object(
    'minute', gateway.iso(r.minute), 'refusal', r.refusal, 'calls', r.calls) order by r.minute, r.refusal), '[]')) from (
      select date_bin('1 minute', c.started_at, 'epoch') as minute, c.refusal, count(*) as calls
      from gateway.calls c
      where c.started_at >= greatest(since, now() - interval '24 hours') and c.outcome <> 'succeeded'
        and c.refusal is not null
      group by 1, 2) r
$$;
revoke execute on function public.refusals_by_minute(timestamptz) from public, anon, authenticated;
grant execute on function public.refusals_by_minute(timestamptz) to service_role;

-- --------------------------------------------------------------------------------------------------- sums over calls

-- Which minutes and hours answer a question. Times are widened to whole minutes. Fine steps read minutes only. Coarse
-- ones, totals, and whatever reaches back before `minutes_from` read hours, with minutes at both ends as far as these
-- are kept: a total is then exact to the minute and still cheap. Minutes are read in [starts, hours_from) and
-- [hours_to, ends), hours in [hours_from, hours_to). A null step asks for one bucket.
create type gateway.span as (
  starts timestamptz, hours_from timestamptz, hours_to timestamptz, ends timestamptz, step interval
);

-- At most 11,000 buckets: a week of minutes is 10,080.
create function gateway.find_span(query jsonb, step_seconds int, minutes_from timestamptz) returns gateway.span
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  s gateway.span;
  coarse boolean;
begin
  s.starts := date_bin('1 minute', (query ->> 'from')::timestamptz, 'epoch');
  s.ends := date_bin('1 minute', (query ->> 'to')::timestamptz + interval '59.999999 seconds', 'epoch');
  if s.starts is null or s.ends is null or s.starts >= s.ends then
    raise exception '"from" must lie before "to", both as ISO 8601 times' using errcode = '22023';
  end if;
  if step_seconds < 60 then
    raise exception 'stepSeconds must be at least 60, not %', step_seconds using errcode = '22023';
  end if;
  coarse := step_seconds is null or step_seconds >= 3600 or s.starts < minutes_from;
  if step_seconds is not null then
    s.step := case when coarse then interval '1 hour' * ceil(step_seconds / 3600.0)
      else interval '1 minute' * ceil(step_seconds / 60.0) end;
    if extract(epoch from s.ends - s.starts) / extract(epoch from s.step) > 11000 then
      raise exception 'more than 11000 points in time: ask for a larger stepSeconds or a shorter range'
        using errcode = '22023';
    end if;
  end if;
  s.hours_from := s.ends;
  s.hours_to := s.ends;
  if coarse then
    s.hours_from := date_bin('1 hour', s.starts, 'epoch');
    if s.starts < minutes_from then
      s.starts := s.hours_from;
    elsif s.hours_from < s.starts then
      s.hours_from := s.hours_from + interval '1 hour';
    end if;
    s.hours_to := date_bin('1 hour', s.ends, 'epoch');
    if s.hours_to < s.ends and s.hours_to < minutes_from then
      s.hours_to := s.hours_to + interval '1 hour';
    end if;
    if s.hours_from >= s.hours_to then
      s.hours_from := s.ends;
      s.hours_to := s.ends;
    end if;
  end if;
  return s;
end
$$;
revoke execute on function gateway.find_span(jsonb, int, timestamptz) from public;

-- Sums by bucket and by the dimensions asked for. By the primary keys of usage_1m and usage_1h. At most 20,000 rows.
create function gateway.usage_grouped(query jsonb, s gateway.span, dimensions jsonb)
returns table (at timestamptz, dimension jsonb, sums jsonb)
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  by_upstream boolean := dimensions ? 'upstream';
  by_pool boolean := dimensions ? 'pool';
  by_model boolean := dimensions ? 'model';
  by_agent boolean := dimensions ? 'agent';
  only_upstream text := query ->> 'upstream';
  only_pool text := query ->> 'pool';
  only_model text := query ->> 'model';
  only_agent text := query ->> 'agent';
begin
  return query with parts as (
    select * from gateway.usage_1m m
    where (m.bucket >= s.starts and m.bucket < s.hours_from) or (m.bucket >= s.hours_to and m.bucket < s.ends)
    union all
    select * from gateway.usage_1h h where h.bucket >= s.hours_from and h.bucket < s.hours_to
  ), sums as (
    select case when s.step is not null then date_bin(s.step, p.bucket, 'epoch') else s.starts end as at,
      case when by_upstream then p.upstream end as upstream,
      case when by_pool then p.pool end as pool,
      case when by_model then p.model end as model,
      case when by_agent then p.agent end as agent,
      sum(p.calls) as "calls", sum(p.refused_calls) as "refusedCalls", sum(p.failed_calls) as "failedCalls",
      sum(p.partial_calls) as "partialCalls", sum(p.input_tokens) as "inputTokens",
      sum(p.cache_write_tokens) as "cacheWriteTokens", sum(p.cache_write_5m_tokens) as "cacheWrite5mTokens",
      sum(p.cache_write_1h_tokens) as "cacheWrite1hTokens", sum(p.cache_read_tokens) as "cacheReadTokens",
      sum(p.output_tokens) as "outputTokens", sum(p.web_search_requests) as "webSearchRequests",
      sum(p.cost_nano_usd) as "costNanoUsd", sum(p.unpriced_calls) as "unpricedCalls"
    from parts p
    where (only_upstream is null or p.upstream = only_upstream) and (only_pool is null or p.pool = only_pool)
      and (only_model is null or p.model = only_model) and (only_agent is null or p.agent = only_agent)
    group by 1, 2, 3, 4, 5
    limit 20001
  )
  select u.at,
    case when by_upstream then jsonb_build_object('upstream', nullif(u.upstream, '')) else '{}' end
      || case when by_pool then jsonb_build_object('pool', nullif(u.pool, '')) else '{}' end
      || case when by_model then jsonb_build_object('model', nullif(u.model, '')) else '{}' end
      || case when by_agent then jsonb_build_object('agent', nullif(u.agent, '')) else '{}' end,
    to_jsonb(u) - array['at', 'upstream', 'pool', 'model', 'agent']
  from sums u;
end
$$;
revoke execute on function gateway.usage_grouped(jsonb, gateway.span, jsonb) from public;

-- Sums over time. The answer names the step it really took: whole minutes, or whole hours. By the primary keys of
-- usage_1m and usage_1h, through usage_grouped.
create function public.usage_series(query jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  s gateway.span := gateway.find_span(query, coalesce((query ->> 'stepSeconds')::int, 60),
    (select r.minutes_from from gateway.retention r));
  points jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_object('at', gateway.iso(g.at), 'group', g.dimension, 'sums', g.sums)
    order by g.at, g.dimension), '[]') into points
  from gateway.usage_grouped(query, s, coalesce(query -> 'groupBy', '[]')) g;
  if jsonb_array_length(points) > 20000 then
    raise exception 'more than 20000 points: ask for a larger stepSeconds, a shorter range or fewer groups'
      using errcode = '22023';
  end if;
  return jsonb_build_object('stepSeconds', extract(epoch from s.step)::int, 'points', points);
end
$$;
revoke execute on function public.usage_series(jsonb) from public, anon, authenticated;
grant execute on function public.usage_series(jsonb) to service_role;

-- The sum over a span, and its parts by group, largest first. By the primary keys of usage_1m and usage_1h, through
-- usage_grouped.
create function public.usage_totals(query jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  s gateway.span := gateway.find_span(query, null, (select r.minutes_from from gateway.retention r));
  total jsonb;
  groups jsonb := '[]';
begin
  select g.sums into total from gateway.usage_grouped(query, s, '[]') g;
  if jsonb_array_length(coalesce(query -> 'groupBy', '[]')) > 0 then
    select coalesce(jsonb_agg(jsonb_build_object('group', g.dimension, 'sums', g.sums)
      order by (g.sums ->> 'calls')::bigint desc, g.dimension), '[]') into groups
    from gateway.usage_grouped(query, s, query -> 'groupBy') g;
    if jsonb_array_length(groups) > 20000 then
      raise exception 'more than 20000 groups: ask for a shorter range or fewer groups' using errcode = '22023';
    end if;
  end if;
  return jsonb_build_object('groups', groups, 'total', coalesce(total, jsonb_build_object(
    'calls', 0, 'refusedCalls', 0, 'failedCalls', 0, 'partialCalls', 0, 'inputTokens', 0, 'cacheWriteTokens', 0,
    'cacheWrite5mTokens', 0, 'cacheWrite1hTokens', 0, 'cacheReadTokens', 0, 'outputTokens', 0, 'webSearchRequests', 0,
    'costNanoUsd', 0, 'unpricedCalls', 0)));
end
$$;
revoke execute on function public.usage_totals(jsonb) from public, anon, authenticated;
grant execute on function public.usage_totals(jsonb) to service_role;

-- Quantiles of latency and time to first byte, over time, or over the whole span when stepSeconds is null or absent. One
-- line a model when grouped by it, else all models as one with a null model. By window sums over the primary keys of
-- latency_hist_1m and latency_hist_1h.
create function public.usage_latency(query jsonb) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  s gateway.span := gateway.find_span(query, (query ->> 'stepSeconds')::int,
    (select r.histograms_from from gateway.retention r));
  by_model boolean := coalesce(query -> 'groupBy', '[]') ? 'model';
  quantiles double precision[] := array(
    select q::double precision from jsonb_array_elements_text(coalesce(query -> 'quantiles', '[0.5, 0.95, 0.99]')) q);
  points jsonb;
begin
  if cardinality(quantiles) not between 1 and 10 or exists (select from unnest(quantiles) q where not q between 0 and 1)
  then
    raise exception 'quantiles are one to ten numbers from 0 to 1' using errcode = '22023';
  end if;
  with parts as (
    select * from gateway.latency_hist_1m m
    where (m.bucket >= s.starts and m.bucket < s.hours_from) or (m.bucket >= s.hours_to and m.bucket < s.ends)
    union all
    select * from gateway.latency_hist_1h h where h.bucket >= s.hours_from and h.bucket < s.hours_to
  ), histogram as (
    select case when s.step is not null then date_bin(s.step, p.bucket, 'epoch') else s.starts end as at,
      case when by_model then p.model end as model, p.metric, p.b, sum(p.n) as n
    from parts p
    where (query ->> 'model' is null or p.model = query ->> 'model')
      and (query ->> 'metric' is null or p.metric = query ->> 'metric')
    group by 1, 2, 3, 4
  ), cumulated as (
    select h.*, sum(h.n) over (partition by h.at, h.model, h.metric order by h.b) as upto,
      sum(h.n) over (partition by h.at, h.model, h.metric) as total
    from histogram h
  ), answers as (
    select c.at, c.model, c.metric, q.q, min(c.b) filter (where c.upto >= q.q * c.total) as b
    from cumulated c cross join unnest(quantiles) q (q) group by 1, 2, 3, 4
  )
  select coalesce(jsonb_agg(jsonb_build_object('at', gateway.iso(a.at), 'model', nullif(a.model, ''),
    'metric', a.metric, 'quantile', a.q, 'ms', gateway.latency_value(a.b)) order by a.at, a.model, a.metric, a.q), '[]')
  into points from answers a;
  return jsonb_build_object('points', points);
end
$$;
revoke execute on function public.usage_latency(jsonb) from public, anon, authenticated;
grant execute on function public.usage_latency(jsonb) to service_role;

notify pgrst, 'reload schema';
