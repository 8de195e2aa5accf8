-- ARGV: worker, a new token, lease, batch, ring. Returns 0 (free), or 1, the token, the letters, their addresses and
-- the tries (held).

local worker, token, lease, batch = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ring = ARGV[5]
local mail = letters(batch)
if redis.call('EXISTS', HUB) == 0 or (#mail == 0 and ring == '') then
  return {0}
end
local held = redis.call('HMGET', HUB, 'token', 'worker', 'until')
if held[1] and held[2] ~= worker and tonumber(held[3]) > now then
  return {0}
end
local mine = held[1] and held[2] == worker
if mine then
  token = held[1]
end
local found = addresses(mail)
even_when_full()
redis.call('HSET', HUB, 'token', token, 'worker', worker, 'until', whole(now + lease), 'ring', ring)
return {1, token, mail, found, try(mail, mine and 0 or 1)}
