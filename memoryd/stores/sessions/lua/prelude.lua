-- What every script begins with. K holds the declared keys by name, OWN is the place of the first key after them.
-- A script first looks at everything that can refuse it, and writes after that: it stores all or nothing.
local call = redis.call
local NOW, ALLOWED, SID, RECEIPT, PRINT = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local CREATE, INCARNATION, SPACE, USER, TTL = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local DAY, RECEIPTS, RECEIPT_BYTES = 86400000, 2000, 4194304

local function int(value) return tonumber(value or 0) or 0 end
local function text(number) return string.format('%.0f', number) end

-- nil, or why the caller may not have a session in this space (false: there is none), which may be outside the key's.
local function barred(space)
  if not space then return {'gone'} end
  if ALLOWED ~= '*' and not string.find(ALLOWED, '\n' .. space .. '\n', 1, true) then return {'foreign'} end
  if SPACE ~= '' and SPACE ~= space then return {'space', space} end
  return nil
end

local function refused() return barred(call('HGET', K.meta, 'space')) end

-- Whether the messages are gone of a session that has some: of its keys, a server that evicts may take any.
local function hollow() return int(call('HGET', K.meta, 'count')) > 0 and call('EXISTS', K.messages) == 0 end

-- As refused(), for what writes. Beside messages that are gone nothing is written: it would go when the session is read back. Who
-- may make the session found no snapshot of it: it goes on, and that it is not there is no reason either.
local function unwelcome()
  local no = refused()
  if CREATE ~= '1' then return no or hollow() and {'gone'} or nil end
  if no and no[1] == 'gone' then return nil end
  return no
end

-- The answer that an Idempotency-Key got before, or that it belongs to another request. `stands`, of an answer: whether what was
-- done then is there still. Where a restore took it back, and no other brought it again, it is to be done anew; what it was
-- answered before is kept behind the new answer, since a restore can bring that back too.
local earlier, EARLIER_BYTES = '', 8192
local function repeated(stands)
  if RECEIPT == '' then return nil end
  local kept = call('HGET', K.receipts, RECEIPT)
  if not kept then return nil end
  -- Receipts of earlier builds do not say how many restores there had been.
  local at, restores, print, answer = string.match(kept, '^(%d+):?(%d*)|(%x+)|(.*)$')
  if int(NOW) - int(at) > DAY then return nil end
  if print ~= PRINT then return {'reused'} end
  if not stands then return {'replay', answer} end
  local restored = restores ~= '' and int(restores) ~= int(call('HGET', K.meta, 'restores'))
  for one in string.gmatch(answer, '%S+') do
    if not restored or stands(one) then return {'replay', one} end
  end
  earlier = ' ' .. answer
  if #earlier > EARLIER_BYTES then earlier = string.match(string.sub(earlier, 1, EARLIER_BYTES), '^(.*) ') end
  return nil
end

-- Keep the answer of a request with an Idempotency-Key. The oldest go: beyond their number and bytes at once, after a day by the
-- few. A key is counted twice, as it is stored.
local function keep(answer)
  if RECEIPT == '' then return end
  local stored, restores = unpack(call('HMGET', K.meta, 'rbytes', 'restores'))
  local row = NOW .. ':' .. int(restores) .. '|' .. PRINT .. '|' .. answer .. earlier
  local bytes = int(stored) - call('HSTRLEN', K.receipts, RECEIPT) + #row
  if call('HSET', K.receipts, RECEIPT, row) == 1 then
    bytes = bytes + 2 * #RECEIPT
  else
    call('LREM', K.receipt_order, 1, RECEIPT)
  end
  call('RPUSH', K.receipt_order, RECEIPT)
  local some = 4
  while true do
    local oldest = call('LINDEX', K.receipt_order, 0)
    local kept = call('HGET', K.receipts, oldest) or '0|'
    local over = call('LLEN', K.receipt_order) > RECEIPTS or bytes > RECEIPT_BYTES
    local old = some > 0 and int(NOW) - int(string.match(kept, '^%d+')) > DAY
    if oldest == RECEIPT or not (over or old) then break end
    call('LPOP', K.receipt_order)
    call('HDEL', K.receipts, oldest)
    bytes = bytes - #kept - 2 * #oldest
    some = some - 1
  end
  call('HSET', K.meta, 'rbytes', bytes)
end

-- Remove every part of a session, for scripts that declare all of them.
local PARTS = {'meta', 'messages', 'ids', 'receipts', 'receipt_order', 'state', 'checkpoints', 'checkpoint_states',
               'checkpoint_order', 'effects', 'pins', 'agents', 'summary'}
local function erase()
  for _, name in ipairs(PARTS) do call('UNLINK', K[name]) end
end

-- The same to make a session in its place. First what a server without memory refuses: it would let all go on that follows what
-- erase() does.
local function make_way()
  call('HSET', K.meta, 'restored', '')
  erase()
end

-- Where the session is to be made: nothing that a server which evicts has left of an earlier one is taken for its own.
local function anew()
  if CREATE ~= '1' or call('EXISTS', K.meta) == 1 then return end
  local keys = {}
  for at, name in ipairs(PARTS) do keys[at] = K[name] end
  if call('EXISTS', unpack(keys)) > 0 then make_way() end
end

-- Sliding renewal: the session's end moves to a TTL from now.
local function touch()
  call('HSET', K.meta, 'touched', NOW)
  call('ZADD', K.due, text(int(NOW) + int(call('HGET', K.meta, 'ttl')) * 1000), SID)
end

-- A server whose memory is full refuses a script whose first write can take memory, and lets one go on that has written before.
-- For what takes none, or what a session must go through to leave: there is no such field.
local function also_when_full() call('HDEL', K.meta, '') end

-- Renewal by a read. A write for each would be a waste: within a tenth of the time to live, or a minute, the end stays.
local function renew()
  local touched, ttl = unpack(call('HMGET', K.meta, 'touched', 'ttl'))
  if int(NOW) - int(touched) > math.min(int(ttl) * 100, 60000) then
    also_when_full()
    touch()
  end
end

-- The session differs from its newest snapshot from now on.
local function changed()
  call('HINCRBY', K.meta, 'rev', 1)
  call('ZADD', K.dirty, 'NX', NOW, SID)
end

-- Wake who listens. They wait for more than the time the session was made at and the number of restores that they know of: so
-- what is said of a session is nothing to who listens to one that was made after it under its name.
local function wake(created, number)
  call('DEL', K.wake)
  call('XADD', K.wake, created .. '-' .. number, 'm', '')
  call('EXPIRE', K.wake, 10)
end

-- Make the session unless it is there. The user's index is the first key after the declared ones.
local function born()
  if call('EXISTS', K.meta) == 1 then return end
  call('HSET', K.meta, 'inc', INCARNATION, 'space', SPACE, 'user', USER, 'ttl', TTL, 'created', NOW, 'written', NOW, 'touched', NOW,
       'head', 0, 'count', 0, 'bytes', 0, 'sbytes', 0, 'sver', 0, 'vis', '1:', 'committed', '', 'rev', 0, 'restored', '')
  call('DEL', K.deleted)
  call('ZADD', K.sessions, NOW, SID)
  if USER ~= '' then call('ZADD', KEYS[OWN], NOW, SID) end
end

-- The state as a JSON array of keys and values, for a checkpoint.
local function state_copy()
  local flat = call('HGETALL', K.state)
  if #flat == 0 then return '[]' end
  return cjson.encode(flat)
end

-- Keep a checkpoint of the session as it stands; drop the oldest beyond `most` of them or `room` bytes, unlabelled ones first.
local function checkpoint(id, automatic, labelled, record, most, room, spared)
  local head, vis, sver = unpack(call('HMGET', K.meta, 'head', 'vis', 'sver'))
  local row = table.concat({head, vis, sver, NOW, automatic, labelled, record}, '|')
  call('HSET', K.checkpoints, id, row)
  call('HSET', K.checkpoint_states, id, state_copy())
  call('RPUSH', K.checkpoint_order, id)
  local order = call('LRANGE', K.checkpoint_order, 0, -1)
  local left, bytes, sizes = #order, 0, {}
  for _, one in ipairs(order) do
    sizes[one] = call('HSTRLEN', K.checkpoints, one) + call('HSTRLEN', K.checkpoint_states, one)
    bytes = bytes + sizes[one]
  end
  for pass = 1, 2 do
    for _, other in ipairs(order) do
      if left <= int(most) and bytes <= int(room) then return row end
      local old = other ~= id and other ~= spared and call('HGET', K.checkpoints, other)
      if old and (pass == 2 or string.match(old, '^%d+|[^|]*|%d+|%d+|%d|(%d)|') == '0') then
        call('HDEL', K.checkpoints, other)
        call('HDEL', K.checkpoint_states, other)
        call('LREM', K.checkpoint_order, 1, other)
        left, bytes = left - 1, bytes - sizes[other]
      end
    end
  end
  return row
end
