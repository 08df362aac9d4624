-- Delete a key. ARGV: key, expected version or ''.
local old = call('HGET', K.state, ARGV[11])
local version = old and string.match(old, '^%d+')
-- What is of a later version than the one that was deleted was set after it, and no restore brought it back from before.
local no = unwelcome() or repeated(function(answer) return not old or int(version) > int(answer) end)
if no then return no end
if not old then return {'missing'} end
if ARGV[12] ~= '' and ARGV[12] ~= version then return {'conflict', version} end
call('HDEL', K.state, ARGV[11])
call('HINCRBY', K.meta, 'sbytes', -(#ARGV[11] + #old - #version - 1))
keep(version)
changed()
touch()
return {'ok', int(version)}
