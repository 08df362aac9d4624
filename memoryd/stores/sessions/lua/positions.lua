-- Where the callers' ids in ARGV are, in their order: positions, separated by spaces; '' for none.
local no = refused()
if no then return no end
local found = {}
for at = 11, #ARGV do found[at - 10] = call('HGET', K.ids, ARGV[at]) or '' end
return {'ok', found}
