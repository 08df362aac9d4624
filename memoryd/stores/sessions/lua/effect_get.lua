-- A recorded result. ARGV: key. Renews.
local no = refused()
if no then return no end
renew()
local found = call('HGET', K.effects, ARGV[11])
if not found then return {'missing'} end
return {'ok', found}
