-- ARGV: name, events channel, the one of a hub that has none, history's size, its ttl; '' leaves what is there.
-- Returns the events channel, size and ttl.

redis.call('HSET', HUB, 'name', ARGV[1], 'named', '1')
redis.call('HSETNX', HUB, 'events', ARGV[3])
for at, field in pairs({[2] = 'events', [4] = 'history_size', [5] = 'history_ttl'}) do
  if ARGV[at] ~= '' then
    redis.call('HSET', HUB, field, ARGV[at])
  end
end
return redis.call('HMGET', HUB, 'events', 'history_size', 'history_ttl')
