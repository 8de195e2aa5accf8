-- Declare processes dead whose lease is over. KEYS: processes, lives, graves. ARGV: prefix of the key of a
-- process's entries, prefix of a grave. What such a process joins from now on is entered anew, so that who clears
-- a grave never meets a member of a process that is back. Returns all graves that are not cleared yet.

local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000000 + clock[2])
-- Raise where something else has written to them, before anything is moved: a grave that is not listed is never
-- cleared.
redis.call('ZCARD', KEYS[2])
redis.call('SCARD', KEYS[3])
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], process)
  redis.call('ZREM', KEYS[2], process)
  if redis.call('EXISTS', ARGV[1] .. process) == 1 then
    local grave = ARGV[2] .. now .. ':' .. process
    redis.call('RENAME', ARGV[1] .. process, grave)
    redis.call('SADD', KEYS[3], grave)
  end
end
return redis.call('SMEMBERS', KEYS[3])
