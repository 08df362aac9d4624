-- A page of visible messages. ARGV: first and last position, most messages, most bytes (the first message comes whatever its
-- size), direction, whether reading renews the session, whether what a context needs beside them is wanted. Answers meta, agents,
-- whether there is more, the entries; then the visible pinned entries and the summary ('' for none).
local no = refused()
if no then return no end
local first, last, limit, room = int(ARGV[11]), int(ARGV[12]), int(ARGV[13]), int(ARGV[14])
local back, renewing = ARGV[15] == 'back', ARGV[16] == '1'
local spans = {}
for from, to in string.gmatch(call('HGET', K.meta, 'vis'), '(%d+):(%d*)') do
  local low, high = math.max(int(from), first), math.min(to == '' and last or int(to), last)
  if low <= high then spans[#spans + 1] = {low, high} end
end
local entries, more = {}, 0
for at = 1, #spans do
  local low, high = unpack(spans[back and #spans + 1 - at or at])
  while low <= high and more == 0 do
    -- By the piece, so that a page of large messages does not read all of them.
    local piece = math.min(limit - #entries + 1, 64)
    local found
    if back then
      found = call('XREVRANGE', K.messages, text(high), text(low), 'COUNT', piece)
    else
      found = call('XRANGE', K.messages, text(low), text(high), 'COUNT', piece)
    end
    for _, entry in ipairs(found) do
      local payload = entry[2][2]
      if #entries >= limit or (#entries > 0 and #payload > room) then more = 1 break end
      room = room - #payload
      entries[#entries + 1] = {string.match(entry[1], '^%d+'), payload}
      local position = int(entries[#entries][1])
      if back then high = position - 1 else low = position + 1 end
    end
    if #found < piece then break end
  end
  if more == 1 then break end
end
if #entries == 0 and hollow() then return {'gone'} end
if renewing then renew() end
local answer = {'ok', call('HGETALL', K.meta), call('SMEMBERS', K.agents), more, entries}
if ARGV[17] == '1' then
  -- Both come in order and are walked once: there may be thousands of either.
  local span, pinned = string.gmatch(call('HGET', K.meta, 'vis'), '(%d+):(%d*)'), {}
  local from, to = span()
  for _, position in ipairs(call('ZRANGE', K.pins, 0, -1)) do
    while from and to ~= '' and int(to) < int(position) do from, to = span() end
    if from and int(from) <= int(position) then
      local found = call('XRANGE', K.messages, position, position)[1]
      if found then pinned[#pinned + 1] = {position, found[2][2]} end
    end
  end
  answer[6], answer[7] = pinned, call('GET', K.summary) or ''
end
return answer
