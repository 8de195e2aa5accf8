-- ARGV: name, events channel, the one of a hub that has none. Returns the events channel.

redis.call('HSET', HUB, 'name', ARGV[1], 'named', '1')
if ARGV[2] ~= '' then
  redis.call('HSET', HUB, 'events', ARGV[2])
else
  redis.call('HSETNX', HUB, 'events', ARGV[3])
end
return redis.call('HGET', HUB, 'events')
