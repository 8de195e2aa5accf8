-- ARGV: token, lease. Returns 1, or 0 if the lease is lost.

if redis.call('HGET', HUB, 'token') ~= ARGV[1] then
  return 0
end
even_when_full()
redis.call('HSET', HUB, 'until', whole(now + ARGV[2]))
return 1
