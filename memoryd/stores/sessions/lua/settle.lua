-- A snapshot was stored. ARGV: the revision it has, when it was read.
local rev, inc = unpack(call('HMGET', K.meta, 'rev', 'inc'))
if not rev or inc ~= INCARNATION then return {'gone'} end
also_when_full()
call('HSET', K.meta, 'snap', ARGV[11])
if rev == ARGV[11] then call('ZREM', K.dirty, SID) else call('ZADD', K.dirty, ARGV[12], SID) end
return {'ok'}
