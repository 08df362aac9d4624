-- Take an id out of the work lists, unless it has a session or what is left of one.
if call('EXISTS', K.meta) == 1 then return {'changed'} end
for _, name in ipairs({'sessions', 'due', 'dirty', 'uncommitted', 'unsummarised'}) do call('ZREM', K[name], SID) end
return {'ok'}
