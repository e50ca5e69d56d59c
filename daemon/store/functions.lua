#!lua name=vigil_@
--[[
Every write to vigild's keyspace, each function one atomic step on the server.

KEYS[1] is always the root "vigil:1:{v}:"; all keys are derived from it, and its hash tag keeps them in one slot.
"@" becomes a digest of this file, so that two releases of vigild can share one server while one replaces the other.

Replies are arrays whose first element says how it went: "ok", or why not. A function that may be sent twice (the reply
was lost, the client tries again) takes a request name and answers the second time what it answered first.

Functions without a flag are refused by the server when its memory is full. Those that make room, or only overwrite a
bounded number of small values, carry "allow-oom", so that a full store can still be watched, trimmed and taken over.
]]

local CHANGES_KEPT = 1000    -- a follower further behind gets "reset" and reads everything again
local NOTES_KEPT = 5000      -- seqs a camera, so that its notes are found without a walk through all events
local TRIMMED_AT_ONCE = 10000 -- entries a call, so that the server never stands still

local function int(n)
  return string.format('%.0f', n)
end

local function number(key)
  return tonumber(redis.call('GET', key) or '0')
end

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function recalled(root, request)
  local reply = redis.call('GET', root .. 'once:' .. request)
  return reply and cjson.decode(reply)
end

local function remember(root, request, ttl_ms, reply)
  redis.call('SET', root .. 'once:' .. request, cjson.encode(reply), 'PX', ttl_ms)
  return reply
end

-- The counter moves after the stream: an XADD that fails leaves no hole.
local function append(root, id, kind, camera, ts, data)
  local seq = int(number(root .. 'seq') + 1)
  redis.call('XADD', root .. 'events', seq .. '-0', 'id', id, 'kind', kind, 'camera', camera, 'ts', ts, 'data', data)
  redis.call('SET', root .. 'seq', seq)
  return {'ok', seq, id, ts}
end

local function changed(root, kind, id, camera)
  local change = int(number(root .. 'change') + 1)
  redis.call('XADD', root .. 'changes', 'MAXLEN', '~', CHANGES_KEPT, change .. '-0',
             'kind', kind, 'id', id, 'camera', camera)
  redis.call('SET', root .. 'change', change)
end

local function forget_ask(root, camera, ask)
  redis.call('HDEL', root .. 'asks:' .. camera, ask)
  redis.call('HDEL', root .. 'ask_camera', ask)
  redis.call('HDEL', root .. 'cancelled', ask)
end

-- End, as durable events, what nobody will end any more; the names equal those that Python gives a worker's own events,
-- so that a worker which says the same a moment later adds nothing.
local function speak(root, kind, camera, ts, name, data, ttl_ms)
  local id = 'e_' .. string.sub(redis.sha1hex(root .. name), 1, 16)
  remember(root, name, ttl_ms, append(root, id, kind, camera, ts, cjson.encode(data)))
end

local function end_alerts(root, camera, rule, ts, ttl_ms, reason)
  local open = redis.call('HGETALL', root .. 'alerts:' .. camera)
  for i = 1, #open, 2 do
    local alert = cjson.decode(open[i + 1])
    if rule == nil or alert.rule == rule then
      local lasted_s = math.max(0, tonumber(ts) - alert.ts) / 1000
      speak(root, 'alert.ended', camera, ts, 'ended:' .. open[i],
            {rule = alert.rule, alert = open[i], duration_s = lasted_s, reason = reason}, ttl_ms)
      redis.call('HDEL', root .. 'alerts:' .. camera, open[i])
    end
  end
end

local function fail_asks(root, camera, ts, ttl_ms, reason)
  for _, ask in ipairs(redis.call('HKEYS', root .. 'asks:' .. camera)) do
    speak(root, 'answer', camera, ts, 'answer:' .. ask, {ask = ask, text = '', status = 'failed', reason = reason}, ttl_ms)
    forget_ask(root, camera, ask)
  end
end

-- emit(camera, epoch or '', request, ttl_ms, id, kind, ts, data, subject, latest)
-- fence -> once -> seq -> XADD, and what the event implies: `subject` is the alert or ask it speaks of, `latest` the
-- state or open alert to keep.
local function emit(keys, args)
  local root = keys[1]
  local camera, epoch, request, ttl_ms = args[1], args[2], args[3], args[4]
  local id, kind, ts, data, subject, latest = args[5], args[6], args[7], args[8], args[9], args[10]
  if epoch ~= '' then
    local current = redis.call('HGET', root .. 'epochs', camera) or '0'
    if epoch ~= current then return {'fenced', current} end
  end
  local earlier = recalled(root, request)
  if earlier then return earlier end
  local reply = append(root, id, kind, camera, ts, data)
  if kind == 'camera.state' then
    redis.call('HSET', root .. 'states', camera, latest)
  elseif kind == 'alert.started' then
    redis.call('HSET', root .. 'alerts:' .. camera, subject, latest)
  elseif kind == 'alert.ended' then
    redis.call('HDEL', root .. 'alerts:' .. camera, subject)
  elseif kind == 'answer' then
    forget_ask(root, camera, subject)
  elseif kind == 'note' and redis.call('HEXISTS', root .. 'cameras', camera) == 1 then
    redis.call('RPUSH', root .. 'notes:' .. camera, reply[2])
    redis.call('LTRIM', root .. 'notes:' .. camera, -NOTES_KEPT, -1)
  end
  return remember(root, request, ttl_ms, reply)
end

-- put_camera(id, spec, expect, request, ttl_ms)
local function put_camera(keys, args)
  local root, id, spec, expect, request, ttl_ms = keys[1], args[1], args[2], args[3], args[4], args[5]
  local earlier = recalled(root, request)
  if earlier then return earlier end
  local exists = redis.call('HEXISTS', root .. 'cameras', id) == 1
  if expect == 'new' and exists then return {'exists', 'camera', id} end
  if expect == 'existing' and not exists then return {'missing', 'camera', id} end
  redis.call('HSET', root .. 'cameras', id, spec)
  changed(root, 'camera', id, id)
  return remember(root, request, ttl_ms, {'ok'})
end

-- remove_camera(id, ts, request, ttl_ms, event_ttl_ms): its rules, lease, state, open alerts and asks go with it
local function remove_camera(keys, args)
  local root, id, ts, request, ttl_ms, event_ttl_ms = keys[1], args[1], args[2], args[3], args[4], args[5]
  local earlier = recalled(root, request)
  if earlier then return earlier end
  local spec = redis.call('HGET', root .. 'cameras', id)
  if not spec then return {'missing', 'camera', id} end
  end_alerts(root, id, nil, ts, event_ttl_ms, 'camera removed')
  fail_asks(root, id, ts, event_ttl_ms, 'the camera was removed')
  for _, rule in ipairs(redis.call('SMEMBERS', root .. 'rules:' .. id)) do
    redis.call('HDEL', root .. 'rules', rule)
  end
  redis.call('DEL', root .. 'rules:' .. id, root .. 'lease:' .. id, root .. 'alerts:' .. id, root .. 'asks:' .. id,
             root .. 'notes:' .. id)
  redis.call('HDEL', root .. 'cameras', id)
  redis.call('HDEL', root .. 'states', id)
  redis.call('HDEL', root .. 'counters', id)
  redis.call('HINCRBY', root .. 'epochs', id, 1) -- what its worker still has to say is fenced
  changed(root, 'camera', id, id)
  return remember(root, request, ttl_ms, {'ok', spec})
end

-- put_rule(id, camera, spec, expect, request, ttl_ms)
local function put_rule(keys, args)
  local root, id, camera, spec, expect, request, ttl_ms = keys[1], args[1], args[2], args[3], args[4], args[5], args[6]
  local earlier = recalled(root, request)
  if earlier then return earlier end
  if redis.call('HEXISTS', root .. 'cameras', camera) == 0 then return {'missing', 'camera', camera} end
  local old = redis.call('HGET', root .. 'rules', id)
  if expect == 'new' and old then return {'exists', 'rule', id} end
  if expect == 'existing' and not old then return {'missing', 'rule', id} end
  if old then redis.call('SREM', root .. 'rules:' .. cjson.decode(old).camera, id) end
  redis.call('HSET', root .. 'rules', id, spec)
  redis.call('SADD', root .. 'rules:' .. camera, id)
  changed(root, 'rule', id, camera)
  return remember(root, request, ttl_ms, {'ok'})
end

-- delete_rule(id, ts, request, ttl_ms, event_ttl_ms): its open alerts end with it
local function delete_rule(keys, args)
  local root, id, ts, request, ttl_ms, event_ttl_ms = keys[1], args[1], args[2], args[3], args[4], args[5]
  local earlier = recalled(root, request)
  if earlier then return earlier end
  local spec = redis.call('HGET', root .. 'rules', id)
  if not spec then return {'missing', 'rule', id} end
  local camera = cjson.decode(spec).camera
  end_alerts(root, camera, id, ts, event_ttl_ms, 'rule deleted')
  redis.call('HDEL', root .. 'rules', id)
  redis.call('SREM', root .. 'rules:' .. camera, id)
  changed(root, 'rule', id, camera)
  return remember(root, request, ttl_ms, {'ok', spec})
end

-- acquire(camera, owner, ttl_ms): every acquisition is a new epoch, also the owner's own
local function acquire(keys, args)
  local root, camera, owner, ttl_ms = keys[1], args[1], args[2], args[3]
  if redis.call('HEXISTS', root .. 'cameras', camera) == 0 then return {'missing', 'camera', camera} end
  local holder = redis.call('GET', root .. 'lease:' .. camera)
  if holder and holder ~= owner then return {'held', holder} end
  local epoch = redis.call('HINCRBY', root .. 'epochs', camera, 1)
  redis.call('SET', root .. 'lease:' .. camera, owner, 'PX', ttl_ms)
  return {'ok', int(epoch)}
end

-- renew(owner, ttl_ms, camera, epoch, camera, epoch, ...) -> 'ok', then the cameras whose lease is over.
-- One that has run out but that nobody took is still the owner's.
local function renew(keys, args)
  local root, owner, ttl_ms = keys[1], args[1], args[2]
  local reply = {'ok'}
  for i = 3, #args, 2 do
    if redis.call('HGET', root .. 'epochs', args[i]) == args[i + 1] then
      redis.call('SET', root .. 'lease:' .. args[i], owner, 'PX', ttl_ms)
    else
      reply[#reply + 1] = args[i]
    end
  end
  return reply
end

-- release(camera, epoch): the lease is over at once, and what is emitted under it later is fenced
local function release(keys, args)
  local root, camera, epoch = keys[1], args[1], args[2]
  if redis.call('HGET', root .. 'epochs', camera) == epoch then
    redis.call('HINCRBY', root .. 'epochs', camera, 1)
    redis.call('DEL', root .. 'lease:' .. camera)
  end
  return {'ok'}
end

-- put_ask(id, camera, ask, per_camera, in_all, request, ttl_ms)
local function put_ask(keys, args)
  local root, id, camera, ask = keys[1], args[1], args[2], args[3]
  local per_camera, in_all, request, ttl_ms = args[4], args[5], args[6], args[7]
  local earlier = recalled(root, request)
  if earlier then return earlier end
  if redis.call('HEXISTS', root .. 'cameras', camera) == 0 then return {'missing', 'camera', camera} end
  if redis.call('HEXISTS', root .. 'ask_camera', id) == 1 then return {'exists', 'ask', id} end
  if redis.call('HLEN', root .. 'asks:' .. camera) >= tonumber(per_camera) then return {'limit', 'camera', per_camera} end
  if redis.call('HLEN', root .. 'ask_camera') >= tonumber(in_all) then return {'limit', 'daemon', in_all} end
  redis.call('HSET', root .. 'asks:' .. camera, id, ask)
  redis.call('HSET', root .. 'ask_camera', id, camera)
  changed(root, 'ask', id, camera)
  return remember(root, request, ttl_ms, {'ok'})
end

-- cancel_ask(id): told to the worker; the ask stays until its answer
local function cancel_ask(keys, args)
  local root, id = keys[1], args[1]
  local camera = redis.call('HGET', root .. 'ask_camera', id)
  if not camera then return {'missing', 'ask', id} end
  if redis.call('HSET', root .. 'cancelled', id, '1') == 1 then changed(root, 'ask.cancel', id, camera) end
  return {'ok'}
end

-- put_counters(camera, map, camera, map, ...): those of cameras that exist
local function put_counters(keys, args)
  local root = keys[1]
  for i = 1, #args, 2 do
    if redis.call('HEXISTS', root .. 'cameras', args[i]) == 1 then
      redis.call('HSET', root .. 'counters', args[i], int(now_ms()) .. ' ' .. args[i + 1])
    end
  end
  return {'ok'}
end

-- counters(camera or '', max_age_ms) -> 'ok', camera, map, ...
local function counters(keys, args)
  local root, camera, oldest = keys[1], args[1], now_ms() - tonumber(args[2])
  local all
  if camera == '' then
    all = redis.call('HGETALL', root .. 'counters')
  else
    all = {camera, redis.call('HGET', root .. 'counters', camera) or '0 '}
  end
  local reply = {'ok'}
  for i = 1, #all, 2 do
    local set_ms, map = string.match(all[i + 1], '^(%d+) (.*)$')
    if tonumber(set_ms) >= oldest then
      reply[#reply + 1] = all[i]
      reply[#reply + 1] = map
    end
  end
  return reply
end

-- heartbeat(worker, info, ttl_ms): also forgets the workers that have not been heard of in time
local function heartbeat(keys, args)
  local root, worker, info, now = keys[1], args[1], args[2], now_ms()
  local known = redis.call('HGETALL', root .. 'workers')
  for i = 1, #known, 2 do
    if tonumber(string.match(known[i + 1], '^%d+')) < now then redis.call('HDEL', root .. 'workers', known[i]) end
  end
  redis.call('HSET', root .. 'workers', worker, int(now + tonumber(args[3])) .. ' ' .. info)
  return {'ok'}
end

-- workers() -> 'ok', worker, info, ...: those heard of in time
local function workers(keys)
  local root, now, reply = keys[1], now_ms(), {'ok'}
  local known = redis.call('HGETALL', root .. 'workers')
  for i = 1, #known, 2 do
    local until_ms, info = string.match(known[i + 1], '^(%d+) (.*)$')
    if tonumber(until_ms) >= now then
      reply[#reply + 1] = known[i]
      reply[#reply + 1] = info
    end
  end
  return reply
end

-- trim(max_len, min_ts) -> 'ok', removed, oldest seq left, '1' when there is more to remove.
-- Event ids are the seq and have no holes, so the first event not older than min_ts is found by halving.
local function trim(keys, args)
  local root, max_len, min_ts = keys[1], tonumber(args[1]), tonumber(args[2])
  local events, newest = root .. 'events', number(root .. 'seq')
  local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
  if not first then return {'ok', '0', int(newest + 1), '0'} end
  local oldest = tonumber(string.match(first[1], '^%d+'))
  local low, high = math.max(oldest, newest - max_len + 1), newest + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local entry = redis.call('XRANGE', events, int(middle), '+', 'COUNT', 1)[1]
    local ts
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'ts' then ts = tonumber(entry[2][i + 1]) end
    end
    if ts < min_ts then low = middle + 1 else high = middle end
  end
  local keep_from = math.min(low, oldest + TRIMMED_AT_ONCE)
  if keep_from > oldest then redis.call('XTRIM', events, 'MINID', int(keep_from)) end
  return {'ok', int(keep_from - oldest), int(keep_from), keep_from < low and '1' or '0'}
end

-- notes(camera, from, to) -> 'ok', how many were listed, seq, id, ts, data, ...: those events of the list that are held
local function notes(keys, args)
  local root = keys[1]
  local listed = redis.call('LRANGE', root .. 'notes:' .. args[1], args[2], args[3])
  local reply = {'ok', int(#listed)}
  for _, seq in ipairs(listed) do
    local entry = redis.call('XRANGE', root .. 'events', seq .. '-0', seq .. '-0')[1]
    if entry then
      local field = {}
      for i = 1, #entry[2], 2 do field[entry[2][i]] = entry[2][i + 1] end
      for _, word in ipairs({seq, field.id, field.ts, field.data}) do reply[#reply + 1] = word end
    end
  end
  return reply
end

local function register(name, callback, flags)
  redis.register_function{function_name = 'vigil_@_' .. name, callback = callback, flags = flags}
end

register('emit', emit, {})
register('put_camera', put_camera, {})
register('remove_camera', remove_camera, {'allow-oom'})
register('put_rule', put_rule, {})
register('delete_rule', delete_rule, {'allow-oom'})
register('acquire', acquire, {'allow-oom'})
register('renew', renew, {'allow-oom'})
register('release', release, {'allow-oom'})
register('put_ask', put_ask, {})
register('cancel_ask', cancel_ask, {'allow-oom'})
register('put_counters', put_counters, {'allow-oom'})
register('counters', counters, {'no-writes'})
register('heartbeat', heartbeat, {'allow-oom'})
register('workers', workers, {'no-writes'})
register('notes', notes, {'no-writes'})
register('trim', trim, {'allow-oom'})
