-- Change settings. ARGV: time to live in seconds ('' keeps), auto commit ('' keeps, '-' leaves it to the tenant).
local no = unwelcome() or repeated()
if no then return no end
if ARGV[11] ~= '' then call('HSET', K.meta, 'ttl', ARGV[11]) end
if ARGV[12] == '-' then call('HDEL', K.meta, 'auto') elseif ARGV[12] ~= '' then call('HSET', K.meta, 'auto', ARGV[12]) end
-- It may wait for its commit since long, or be put off since it was not to be committed by itself.
if ARGV[12] ~= '' then call('ZADD', K.uncommitted, 0, SID) end
keep('')
changed()
touch()
return {'ok'}
