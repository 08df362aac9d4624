-- Note what went into long-term memory. ARGV: the ranges as they were read, the new ones, the head and the visible ranges then.
-- Where both ranges are the same, nothing was left to commit of what was visible. A session that was deleted and made anew has
-- none of those messages, and one that lost its last second may not have them all. Renews nothing.
local no = refused()
if no then return no end
local committed, head, vis, inc = unpack(call('HMGET', K.meta, 'committed', 'head', 'vis', 'inc'))
if committed ~= ARGV[11] or inc ~= INCARNATION or int(head) < int(string.match(ARGV[12], '%d+$')) then return {'changed'} end
if ARGV[11] ~= ARGV[12] then
  also_when_full()
  call('HSET', K.meta, 'committed', ARGV[12])
  changed()
elseif head == ARGV[13] and vis == ARGV[14] then
  call('ZREM', K.uncommitted, SID)
end
return {'ok'}
