-- One key ('' for all). Answers key and '<version>:<json>' in turn. Renews, as every read for a caller does.
local no = refused()
if no then return no end
renew()
if ARGV[11] == '' then return {'ok', call('HGETALL', K.state)} end
local value = call('HGET', K.state, ARGV[11])
return {'ok', value and {ARGV[11], value} or {}}
