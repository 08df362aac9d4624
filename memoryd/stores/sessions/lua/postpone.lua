-- Put an id that is in a work list behind others of it. ARGV: the list, until when.
local at = call('ZSCORE', K[ARGV[11]], SID)
if at and int(at) < int(ARGV[12]) then
  also_when_full()
  call('ZADD', K[ARGV[11]], ARGV[12], SID)
end
return {'ok'}
