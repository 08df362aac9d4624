-- Record a step's result; the first write wins. ARGV: key, record, most bytes of the session.
anew()
local no = unwelcome()
if no then return no end
local first = call('HGET', K.effects, ARGV[11])
if first then return {'ok', first, 0} end
local size = int(call('HGET', K.meta, 'bytes')) + #ARGV[11] + #ARGV[12]
if size > int(ARGV[13]) then return {'limit', 'session_bytes'} end
born()
call('HSET', K.effects, ARGV[11], ARGV[12])
call('HSET', K.meta, 'bytes', size)
changed()
touch()
return {'ok', ARGV[12], 1}
