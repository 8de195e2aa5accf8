-- A hub's log, or a member's own. ARGV: see log.lua; client id (''), after.
-- Returns epoch, seq, and the items above `after` that are kept.

local epoch, seq = log()
local key, last = HISTORY, seq
if ARGV[5] ~= '' then
  key, last = own_log(ARGV[5]), tonumber(redis.call('HGET', SENT, ARGV[5]) or '0')
elseif tonumber(ARGV[6]) > seq then
  -- Put back to an earlier state: what it would count again has other numbers elsewhere.
  epoch, seq, last = ARGV[1], 0, 0
  redis.call('DEL', HISTORY)
end
local items = {}
if last > tonumber(ARGV[6]) then
  items = redis.call('LRANGE', key, whole(ARGV[6] - last), -1)
end
keep_log(epoch, seq)
return {epoch, last, items}
