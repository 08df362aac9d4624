-- Put a session back from a snapshot, unless it is there or was deleted a while ago; what is left of it in Redis goes. ARGV: where
-- it comes from, then the parts: name, type, number of strings, the strings. Keys after the declared: indexes of its user and
-- agents.
if call('EXISTS', K.meta) == 1 and not hollow() then return {'exists'} end
if call('EXISTS', K.deleted) == 1 then return {'gone'} end
make_way()
local at = 12
while at <= #ARGV do
  local name, kind, many = ARGV[at], ARGV[at + 1], int(ARGV[at + 2])
  local last = at + 2 + many
  for from = at + 3, last, 1000 do
    local to = math.min(from + 999, last)
    if kind == 'hash' then call('HSET', K[name], unpack(ARGV, from, to))
    elseif kind == 'list' then call('RPUSH', K[name], unpack(ARGV, from, to))
    elseif kind == 'set' then call('SADD', K[name], unpack(ARGV, from, to))
    elseif kind == 'zset' then call('ZADD', K[name], unpack(ARGV, from, to))
    elseif kind == 'string' then call('SET', K[name], ARGV[from])
    else
      for pair = from, to, 2 do call('XADD', K[name], ARGV[pair] .. '-0', 'm', ARGV[pair + 1]) end
    end
  end
  at = last + 1
end
local created, rev = unpack(call('HMGET', K.meta, 'created', 'rev'))
call('HSET', K.meta, 'restored', ARGV[11], 'snap', rev)
touch()
call('ZADD', K.sessions, created, SID)
call('ZADD', K.uncommitted, NOW, SID)
call('ZADD', K.unsummarised, NOW, SID)
for key = OWN, #KEYS do call('ZADD', KEYS[key], created, SID) end
return {'ok'}
