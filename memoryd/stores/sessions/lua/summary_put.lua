-- Store a summary made of what was visible. ARGV: the visible ranges then, the head then, the summary's JSON, '1' when no
-- whole block is left.
local no = refused()
if no then return no end
if call('HGET', K.meta, 'vis') ~= ARGV[11] then return {'changed'} end
call('SET', K.summary, ARGV[13])
if ARGV[14] == '1' and call('HGET', K.meta, 'head') == ARGV[12] then call('ZREM', K.unsummarised, SID) end
return {'ok'}
