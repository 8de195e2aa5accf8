-- ARGV: see log.lua. Returns epoch and seq of the hub's log, and when a member was last sent anything alone; or
-- nothing where there is no log.

local epoch, seq, there = log()
if not there then
  return {}
end
keep_log(epoch, seq)
return {epoch, seq, whole(last_told())}
