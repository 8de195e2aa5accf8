-- ARGV: ring_again. Returns 0 and whether the hub is gone (no mail), 1 (not to be rung for now), or 2 and the events channel.

if redis.call('LLEN', MAIL) == 0 then
  return {0, 1 - redis.call('EXISTS', HUB)}
end
local hub = redis.call('HMGET', HUB, 'token', 'until', 'rung', 'events')
if hub[1] and tonumber(hub[2]) > now then
  return {1}
end
if tonumber(hub[3] or '0') > now - ARGV[1] then
  return {1}
end
even_when_full()
redis.call('HSET', HUB, 'rung', whole(now))
return {2, hub[4]}
