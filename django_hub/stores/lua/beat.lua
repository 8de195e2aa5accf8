-- KEYS: processes, known. ARGV: process, lease. Returns whether the process was known.

local clock = redis.call('TIME')
local known = redis.call('ZSCORE', KEYS[2], ARGV[1]) and 1 or 0
local until_ = string.format('%.0f', clock[1] * 1000000 + clock[2] + ARGV[2])
redis.call('ZADD', KEYS[1], until_, ARGV[1])
redis.call('ZADD', KEYS[2], until_, ARGV[1])
return known
