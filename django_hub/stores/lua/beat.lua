-- KEYS: processes, lives. ARGV: process, lease. Returns the process's life: the time at which it began.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- A server at its maxmemory lets all pass behind a write that takes no memory: nobody is to die of that.
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now), ARGV[1])
return string.format('%.0f', redis.call('ZSCORE', KEYS[2], ARGV[1]))
