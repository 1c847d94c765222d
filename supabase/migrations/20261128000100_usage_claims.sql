-- What a call says of who makes it, beside who it is taken for; the batch that it made or is of; and what its server
-- tools did. The claims are for searching and for sums, never for access. A key that is absent, as from a gateway of the
-- version before, is null or none.

alter table gateway.calls
  -- x-headroom-agent, metadata.user_id and x-claude-code-agent-id, as the caller wrote them.
  add column label text,
  add column user_id text,
  add column client_agent text,
  -- Of the call that made a batch, and of each of the batch's results.
  add column batch_id text,
  add column web_fetch_requests int not null default 0 check (web_fetch_requests >= 0),
  add column code_execution_requests int not null default 0 check (code_execution_requests >= 0);

-- What an agent's own settings refused was called by the names of the upstream's limits. By calls_unserved.
update gateway.calls c set refusal = case c.error_code
  when 'headroom_requests' then 'agent_requests' when 'headroom_input_tokens' then 'agent_input_tokens'
  when 'headroom_output_tokens' then 'agent_output_tokens' else 'agent_budget' end
where c.outcome <> 'succeeded' and c.error_code in (
  'headroom_requests', 'headroom_input_tokens', 'headroom_output_tokens', 'headroom_budget');

-- An agent's calls under all the names that it ever had.
create index calls_agent_key on gateway.calls (agent_key_id, started_at) where agent_key_id is not null;
create index calls_label on gateway.calls (label, started_at) where label is not null;
-- Who made a batch: one entry a batch, for results are of the batch tier.
create index calls_batch on gateway.calls (batch_id, started_at)
  where batch_id is not null and service_tier is null;

-- A call as lib/usage/schema.ts knows it. In two parts: a function takes a hundred arguments.
create or replace function gateway.call_json(c gateway.calls) returns jsonb
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
  || jsonb_build_object(
    'label', c.label, 'userId', c.user_id, 'clientAgent', c.client_agent, 'batchId', c.batch_id,
    'webFetchRequests', c.web_fetch_requests, 'codeExecutionRequests', c.code_execution_requests)
$$;

-- Rows with the results of batches given to who made the batch, where that is known: whoever fetches results may be
-- somebody else, and may have been answered by a process that never heard of the batch. A batch's creation begins at most
-- a day before it is dated, which also bounds the days that are looked at. By calls_batch.
create function gateway.with_makers(rows jsonb) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
as $$
  with batches as (
    select r.value ->> 'batchId' as id, min((r.value ->> 'startedAt')::timestamptz) as made_at
    from jsonb_array_elements(rows) r
    where r.value ->> 'batchId' is not null and r.value ->> 'serviceTier' = 'batch'
    group by 1
  ), makers as (
    select b.id, (
      select jsonb_build_object('agent', c.agent, 'agentSource', c.agent_source, 'agentKeyId', c.agent_key_id,
        'session', c.session, 'client', c.client, 'label', c.label, 'userId', c.user_id, 'clientAgent', c.client_agent)
      from gateway.calls c
      where c.batch_id = b.id and c.service_tier is null
        and c.started_at > b.made_at - interval '24 hours' and c.started_at < b.made_at + interval '1 hour'
      order by c.started_at limit 1) as maker
    from batches b
  )
  select jsonb_agg(case when r.value ->> 'serviceTier' = 'batch' then r.value || coalesce(m.maker, '{}')
    else r.value end order by r.ordinality)
  from jsonb_array_elements(rows) with ordinality r left join makers m on m.id = r.value ->> 'batchId'
$$;
revoke execute on function gateway.with_makers(jsonb) from public;

-- Takes a batch of calls, each at most once, and brings every sum up to date in the same transaction. Days first: to
-- make one takes locks that must come before those of rows. Each upsert goes in the order of its key, so that two
-- gateways cannot wait for each other. A key that is absent, as from an older gateway, takes its neutral value.
-- Leans on the primary keys of all five tables.
create or replace function public.calls_record(rows jsonb) returns jsonb
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

  if exists (select from jsonb_array_elements(rows) r where r.value ->> 'batchId' is not null
      and r.value ->> 'serviceTier' = 'batch') then
    rows := gateway.with_makers(rows);
  end if;

  with new_calls as (
    insert into gateway.calls (
      id, started_at, agent, agent_source, agent_key_id, session, client, upstream, pool, lane, model, method, endpoint,
      streamed, status, outcome, refusal, error_type, error_code, input_tokens, cache_write_tokens,
      cache_write_5m_tokens, cache_write_1h_tokens, cache_read_tokens, output_tokens, web_search_requests,
      cost_nano_usd, rate_limit_headers, latency_ms, ttft_ms, output_tokens_per_second, wait_ms, traffic, stop_reason,
      service_tier, speed, inference_geo, request_id, cache_hit, label, user_id, client_agent, batch_id,
      web_fetch_requests, code_execution_requests)
    select
      -- Milliseconds, as JavaScript has them: what is read is then what is stored.
      r.id, date_trunc('milliseconds', r."startedAt"), r.agent, coalesce(r."agentSource", 'unknown'), r."agentKeyId",
      r.session, r.client, r.upstream, r.pool, coalesce(r.lane, 'standard'), r.model, r.method, r.endpoint,
      coalesce(r.streamed, false), r.status, r.outcome, r.refusal, r."errorType", r."errorCode",
      coalesce(r."inputTokens", 0), coalesce(r."cacheWriteTokens", 0), coalesce(r."cacheWrite5mTokens", 0),
      coalesce(r."cacheWrite1hTokens", 0), coalesce(r."cacheReadTokens", 0), coalesce(r."outputTokens", 0),
      coalesce(r."webSearchRequests", 0), r."costNanoUsd", coalesce(r."rateLimitHeaders", '{}'), r."latencyMs",
      r."ttftMs", r."outputTokensPerSecond", coalesce(r."waitMs", 0), r.traffic, r."stopReason", r."serviceTier", r.speed,
      r."inferenceGeo", r."requestId", coalesce(r."cacheHit", false), r.label, r."userId", r."clientAgent", r."batchId",
      coalesce(r."webFetchRequests", 0), coalesce(r."codeExecutionRequests", 0)
    from jsonb_to_recordset(rows) as r (
      id uuid, "startedAt" timestamptz, agent text, "agentSource" text, "agentKeyId" uuid, session text, client text,
      upstream text, pool text, lane text, model text, method text, endpoint text, streamed boolean, status int,
      outcome text, refusal text, "errorType" text, "errorCode" text, "inputTokens" bigint, "cacheWriteTokens" bigint,
      "cacheWrite5mTokens" bigint, "cacheWrite1hTokens" bigint, "cacheReadTokens" bigint, "outputTokens" bigint,
      "webSearchRequests" int, "costNanoUsd" bigint, "rateLimitHeaders" jsonb, "latencyMs" double precision,
      "ttftMs" double precision, "outputTokensPerSecond" double precision, "waitMs" double precision, traffic jsonb,
      "stopReason" text, "serviceTier" text, speed text, "inferenceGeo" text, "requestId" text,
      "cacheHit" boolean, label text, "userId" text, "clientAgent" text, "batchId" text, "webFetchRequests" int,
      "codeExecutionRequests" int)
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

-- A page of calls, newest first. The cursor names the last call of the page before, so pages neither repeat nor skip
-- while new calls come in. By the primary key backwards; refusals, error codes, sessions, request ids, agent keys and
-- labels have indexes of their own. Upstream, pool, model and agent have none: the hourly sums tell which hours hold such
-- calls, and only those are read. Clients and user ids have neither: with a narrow time or another filter they are quick.
create or replace function public.calls_list(filter jsonb) returns jsonb
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
      ('cacheHit', 'c.cache_hit = %L::boolean'), ('client', 'c.client = %L'), ('agentKeyId', 'c.agent_key_id = %L::uuid'),
      ('label', 'c.label = %L'), ('userId', 'c.user_id = %L'),
      ('errorCode', 'c.error_code = %L and c.outcome <> ''succeeded''')) f (name, test)
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

notify pgrst, 'reload schema';
