-- Make a checkpoint. ARGV: id, record, '1' when labelled, most checkpoints and bytes of them.
local no = unwelcome() or repeated()
if no then return no end
local row = checkpoint(ARGV[11], '0', ARGV[13], ARGV[12], ARGV[14], ARGV[15], '')
keep(ARGV[11])
changed()
touch()
return {'ok', row}
