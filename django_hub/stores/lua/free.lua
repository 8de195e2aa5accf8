-- A hub that was held without mail, and may have nobody else left. Returns whether it is to be looked at again,
-- and whether it is gone.

local held = redis.call('HMGET', HUB, 'ring', 'until', 'named')
if not held[1] or held[1] == '' then
  return {0, 1 - redis.call('EXISTS', HUB)}
elseif tonumber(held[2]) > now or held[3] == '1'
    or redis.call('HLEN', MEMBERS) > 0 or redis.call('LLEN', MAIL) > 0 then
  return {1, 0}
end
redis.call('HDEL', HUB, 'token', 'worker', 'until', 'ring', 'tried')
return {0, vanish_if_empty()}
