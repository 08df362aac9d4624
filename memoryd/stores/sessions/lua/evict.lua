-- Remove every key of a session. ARGV: revision it must have, '1' when it must also be due, and how many seconds it is not to be
-- put back ('0': it may be). Keys after the declared: indexes of its user and agents.
local rev, inc, created = unpack(call('HMGET', K.meta, 'rev', 'inc', 'created'))
if not rev then return {'gone'} end
if rev ~= ARGV[11] or inc ~= INCARNATION then return {'changed'} end
if ARGV[12] == '1' and int(call('ZSCORE', K.due, SID)) > int(NOW) then return {'changed'} end
erase()
for _, name in ipairs({'sessions', 'due', 'dirty', 'uncommitted', 'unsummarised'}) do call('ZREM', K[name], SID) end
for at = OWN, #KEYS do call('ZREM', KEYS[at], SID) end
if ARGV[13] ~= '0' then
  call('SET', K.deleted, '1', 'EX', ARGV[13])
  wake(created, '18446744073709551615')
end
return {'ok'}
