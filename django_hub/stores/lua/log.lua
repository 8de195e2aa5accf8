-- What the scripts of a hub's logs share.
-- ARGV: a new epoch, history's size and its ttl in ms where the hub has none of its own, the process lease in ms.

local kept = redis.call('HMGET', HUB, 'history_size', 'history_ttl')
local size = tonumber(kept[1] or ARGV[2])
local ttl = kept[2] and math.ceil(kept[2] * 1000) or tonumber(ARGV[3])

-- Epoch and seq of the hub's log, and whether there is one.
local function log()
  local known = redis.call('HMGET', LOG, 'epoch', 'seq')
  return known[1] or ARGV[1], tonumber(known[2] or '0'), known[1]
end

-- When a member's own log was last published to; it rises also where the clock does not.
local function last_told()
  return tonumber(redis.call('ZREVRANGE', TOLD, 0, 0, 'WITHSCORES')[2] or '0')
end

local function keep_log(epoch, seq)
  even_when_full()
  redis.call('HSET', LOG, 'epoch', epoch, 'seq', whole(seq))
  redis.call('PEXPIRE', LOG, whole(math.max(ttl, tonumber(ARGV[4]))))
end
