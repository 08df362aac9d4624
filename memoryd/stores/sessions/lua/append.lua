-- Append messages, all or none. ARGV: most messages, bytes and agents, every how many to summarise, agents and their names, then
-- a triple a message: the caller's id or '', whether it is pinned, the payload; or '', 'at' and the position of one that is there.
-- Keys after the declared: user, agents.
local most_messages, most_bytes, most_agents = int(ARGV[11]), int(ARGV[12]), int(ARGV[13])
local block, agents = int(ARGV[14]), int(ARGV[15])
anew()
-- The busiest script: it reads what it needs of the session at once and writes it at once.
local space, head, count, bytes, vis, ttl, rev, restored, user, created =
  unpack(call('HMGET', K.meta, 'space', 'head', 'count', 'bytes', 'vis', 'ttl', 'rev', 'restored', 'user', 'created'))
-- Of the positions that a caller's id was given, one at most is visible: the others were set aside by restores, and what is
-- said again after a restore is new.
local spans = nil
local function visible(positions)
  if positions == '' then return nil end
  if not spans then
    spans = {}
    for from, to in string.gmatch(vis, '(%d+):(%d*)') do spans[#spans + 1] = {int(from), to == '' and math.huge or int(to)} end
  end
  for found in string.gmatch(positions, '%d+') do
    -- Restores can leave thousands of spans, in order: the last that begins no later.
    local position, low, high = int(found), 0, #spans
    while low < high do
      local middle = math.ceil((low + high) / 2)
      if spans[middle][1] <= position then low = middle else high = middle - 1 end
    end
    if low > 0 and position <= spans[low][2] then return position end
  end
  return nil
end
local function stands(answer)
  local told = cjson.decode(answer)
  for at = 1, #told, 2 do
    if not visible(text(told[at])) then return false end
  end
  return true
end
local no = (space or CREATE ~= '1') and barred(space) or repeated(stands)
if no and no[1] == 'replay' and CREATE ~= '1' and hollow() then return {'gone'} end
if no then return no end
-- Where its messages are gone for good, none is known any more.
local forgotten = CREATE == '1' and hollow()
head, count, bytes = int(head), int(count), int(bytes)
local before, there = head, count > 0 and CREATE ~= '1'
local placed, new, seen, told = {}, {}, {}, {}
for at = 16 + agents, #ARGV, 3 do
  local id, payload = ARGV[at], ARGV[at + 2]
  local known = nil
  if id ~= '' then
    told[id] = told[id] or not forgotten and call('HGET', K.ids, id) or ''
    known = seen[id] or visible(told[id])
  elseif ARGV[at + 1] == 'at' then
    known = not forgotten and visible(payload)
    if not known then return {'changed'} end
  end
  if known then
    placed[#placed + 1], placed[#placed + 2] = known, 0
  else
    head, count, bytes = head + 1, count + 1, bytes + #payload + #id
    if id ~= '' then seen[id] = head end
    placed[#placed + 1], placed[#placed + 2] = head, 1
    new[#new + 1] = at
  end
end
if #new == 0 and there and hollow() then return {'gone'} end
if count > most_messages then return {'limit', 'messages'} end
if bytes > most_bytes then return {'limit', 'session_bytes'} end
if #new > 0 and agents > 0 then
  local speaking = call('SCARD', K.agents)
  for number = 0, agents - 1 do speaking = speaking + 1 - call('SISMEMBER', K.agents, ARGV[16 + number]) end
  if speaking > most_agents then return {'limit', 'agents'} end
end
if not space then
  born()
  ttl, rev, restored, created = TTL, 0, '', NOW
elseif USER ~= '' and user == '' and before == 0 then
  -- It was begun by its state or an effect, which name nobody, and these are its first messages.
  call('HSET', K.meta, 'user', USER)
  call('ZADD', KEYS[OWN], created, SID)
end
local position = before
for _, at in ipairs(new) do
  position = position + 1
  -- What was to be written is not, where its messages are gone and may be in a snapshot.
  if there then
    if not call('XADD', K.messages, 'NOMKSTREAM', text(position) .. '-0', 'm', ARGV[at + 2]) then return {'gone'} end
  else
    call('XADD', K.messages, text(position) .. '-0', 'm', ARGV[at + 2])
  end
  local id = ARGV[at]
  if id ~= '' then call('HSET', K.ids, id, told[id] == '' and text(position) or told[id] .. ' ' .. text(position)) end
  if ARGV[at + 1] == '1' then call('ZADD', K.pins, position, position) end
end
rev = int(rev) + 1
if #new == 0 then
  call('HSET', K.meta, 'rev', rev, 'touched', NOW)
else
  call('HSET', K.meta, 'head', head, 'count', count, 'bytes', bytes, 'written', NOW, 'rev', rev, 'touched', NOW)
  call('ZADD', K.uncommitted, NOW, SID)
  if math.floor(head / block) > math.floor(before / block) then call('ZADD', K.unsummarised, NOW, SID) end
  if agents > 0 then
    local first = OWN + (USER ~= '' and 1 or 0)
    for number = 0, agents - 1 do
      call('ZADD', KEYS[first + number], 'NX', created, SID)
      call('SADD', K.agents, ARGV[16 + number])
    end
  end
end
if RECEIPT ~= '' then keep(cjson.encode(placed)) end
call('ZADD', K.dirty, 'NX', NOW, SID)
call('ZADD', K.due, text(int(NOW) + int(ttl) * 1000), SID)
return {'ok', head, restored, placed}
