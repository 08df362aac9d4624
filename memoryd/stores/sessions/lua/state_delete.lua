-- Delete a key. ARGV: key, expected version or ''.
local no = refused() or repeated()
if no then return no end
local old = call('HGET', K.state, ARGV[11])
if not old then return {'missing'} end
local version = string.match(old, '^%d+')
if ARGV[12] ~= '' and ARGV[12] ~= version then return {'conflict', version} end
call('HDEL', K.state, ARGV[11])
call('HINCRBY', K.meta, 'sbytes', -(#ARGV[11] + #old - #version - 1))
keep(version)
changed()
touch()
return {'ok', int(version)}
