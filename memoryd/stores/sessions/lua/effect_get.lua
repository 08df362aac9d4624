-- A recorded result. ARGV: key.
local no = refused()
if no then return no end
local found = call('HGET', K.effects, ARGV[11])
if not found then return {'missing'} end
return {'ok', found}
