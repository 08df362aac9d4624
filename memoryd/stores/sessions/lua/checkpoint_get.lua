-- One checkpoint with its state, or all without (id ''), oldest first: id and row in turn. Renews.
local no = refused()
if no then return no end
renew()
if ARGV[11] ~= '' then
  local row = call('HGET', K.checkpoints, ARGV[11])
  if not row then return {'missing'} end
  return {'ok', {ARGV[11], row}, call('HGET', K.checkpoint_states, ARGV[11])}
end
local rows = {}
for _, id in ipairs(call('LRANGE', K.checkpoint_order, 0, -1)) do
  rows[#rows + 1], rows[#rows + 2] = id, call('HGET', K.checkpoints, id)
end
return {'ok', rows, ''}
