-- Returns whether the hub was there, and whether it vanished.

if redis.call('EXISTS', HUB) == 0 then
  return {0, 1}
end
check()
redis.call('HDEL', HUB, 'named')
return {1, vanish_if_empty()}
