-- Note what went into long-term memory. ARGV: the ranges as they were read, the new ones, the head then. Renews nothing.
local no = refused()
if no then return no end
if call('HGET', K.meta, 'committed') ~= ARGV[11] then return {'changed'} end
if ARGV[11] ~= ARGV[12] then
  call('HSET', K.meta, 'committed', ARGV[12])
  changed()
end
if call('HGET', K.meta, 'head') == ARGV[13] then call('ZREM', K.uncommitted, SID) end
return {'ok'}
