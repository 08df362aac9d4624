-- Go back to a checkpoint. ARGV: its id, id and record of the automatic checkpoint that is made first, most checkpoints and
-- bytes of them.
local no = unwelcome() or repeated()
if no then return no end
local row = call('HGET', K.checkpoints, ARGV[11])
if not row then return {'missing'} end
local copy = call('HGET', K.checkpoint_states, ARGV[11])
checkpoint(ARGV[12], '1', '0', ARGV[13], ARGV[14], ARGV[15], ARGV[11])
local at, vis = string.match(row, '^(%d+)|([^|]*)|')
local head = int(call('HGET', K.meta, 'head'))
-- What was visible then, and an open range after everything that was ever said.
local spans, aside = {}, 0
for from, to in string.gmatch(vis, '(%d+):(%d*)') do
  local low, high = int(from), math.min(to == '' and int(at) or int(to), int(at))
  if low <= high then spans[#spans + 1] = {low, high} end
end
local first = head + 1
if #spans > 0 and spans[#spans][2] == head then first = table.remove(spans)[1] end
local parts = {}
for _, span in ipairs(spans) do parts[#parts + 1] = text(span[1]) .. ':' .. text(span[2]) end
parts[#parts + 1] = text(first) .. ':'
local now_visible = table.concat(parts, ',')
local state, size = cjson.decode(copy), 0
call('DEL', K.state)
for i = 1, #state, 2 do
  call('HSET', K.state, state[i], state[i + 1])
  size = size + #state[i] + #state[i + 1] - #string.match(state[i + 1], '^%d+') - 1
end
local before = call('HGET', K.meta, 'vis')
call('HSET', K.meta, 'vis', now_visible, 'sbytes', size)
wake(call('HGET', K.meta, 'created'), text(call('HINCRBY', K.meta, 'restores', 1)))
call('ZADD', K.uncommitted, NOW, SID)
call('ZADD', K.unsummarised, NOW, SID)
local answer = cjson.encode({before, now_visible, head, ARGV[12]})
keep(answer)
changed()
touch()
return {'ok', row, answer}
