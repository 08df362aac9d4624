-- Store a summary made of what was visible. ARGV: the visible ranges then, the head then, the summary's JSON, '1' when no
-- whole block is left. Of a session that was deleted, nothing goes into the next of its name.
local no = refused()
if no then return no end
local vis, head, inc = unpack(call('HMGET', K.meta, 'vis', 'head', 'inc'))
if vis ~= ARGV[11] or inc ~= INCARNATION then return {'changed'} end
call('SET', K.summary, ARGV[13])
if ARGV[14] == '1' and head == ARGV[12] then call('ZREM', K.unsummarised, SID) end
return {'ok'}
