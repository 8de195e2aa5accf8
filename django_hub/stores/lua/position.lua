-- ARGV: see log.lua. Returns epoch and seq of the hub's log, or nothing where there is none.

local epoch, seq, there = log()
if not there then
  return {}
end
keep_log(epoch, seq)
return {epoch, seq}
