-- The traces a Join leaves beside its hub, so that its member can be found when its process is dead.
-- KEYS: processes, the process's entries. ARGV: process, lease, entries. A process with members has a lease
-- also where its beat is still to come; only a beat gives it a life.

local clock = redis.call('TIME')
local until_ = string.format('%.0f', clock[1] * 1000000 + clock[2] + ARGV[2])
redis.call('ZADD', KEYS[1], 'NX', until_, ARGV[1])
-- One by one: `unpack` has a bound.
for at = 3, #ARGV do
  redis.call('SADD', KEYS[2], ARGV[at])
end
return 1
