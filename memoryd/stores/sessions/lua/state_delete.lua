-- Delete a key. ARGV: key, expected version or ''.
local old = call('HGET', K.state, ARGV[11])
local no = refused() or repeated(function() return not old end)
if no then return no end
if not old then return {'missing'} end
local version = string.match(old, '^%d+')
if ARGV[12] ~= '' and ARGV[12] ~= version then return {'conflict', version} end
call('HDEL', K.state, ARGV[11])
call('HINCRBY', K.meta, 'sbytes', -(#ARGV[11] + #old - #version - 1))
keep(version)
changed()
touch()
return {'ok', int(version)}
