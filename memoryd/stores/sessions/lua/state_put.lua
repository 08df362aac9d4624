-- Set a key. ARGV: key, JSON, expectation ('' any, 'absent', 'present', or a version), most bytes
-- and keys of all state.
anew()
local key, value, expected, most = ARGV[11], ARGV[12], ARGV[13], int(ARGV[14])
local old = call('HGET', K.state, key)
local version = old and string.match(old, '^%d+') or '0'
-- What is of a later version than the one that was set replaced it, and stands.
local no = unwelcome() or repeated(function(answer) return int(version) >= int(string.match(answer, '^%d+')) end)
if no then return no end
if expected == 'absent' and old then return {'conflict', version} end
if expected == 'present' and not old then return {'conflict', version} end
if tonumber(expected) and expected ~= version then return {'conflict', version} end
local size = int(call('HGET', K.meta, 'sbytes')) + #key + #value
if old then size = size - #key - (#old - #version - 1) end
if size > most then return {'limit', 'state_bytes'} end
if not old and call('HLEN', K.state) >= int(ARGV[15]) then return {'limit', 'state_keys'} end
born()
local new = call('HINCRBY', K.meta, 'sver', 1)
call('HSET', K.state, key, text(new) .. ':' .. value)
call('HSET', K.meta, 'sbytes', size)
local made = old and 0 or 1
keep(text(new) .. ':' .. made)
changed()
touch()
return {'ok', new, made}
