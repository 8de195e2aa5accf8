-- A hub that was held without mail. Returns whether its lease lives, and whether the hub vanished.

local held = redis.call('HMGET', HUB, 'token', 'until')
if held[1] and tonumber(held[2]) > now then
  return {1, 0}
end
redis.call('HDEL', HUB, 'token', 'worker', 'until', 'ring')
return {0, vanish_if_empty()}
