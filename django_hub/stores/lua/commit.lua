-- ARGV: token, position, release, lease, batch, dead letters kept, their time in ms, dead letters.
-- Returns -1 (lost), 0 and whether the hub vanished and whether its mail is gone (free), or 1, the token,
-- the letters, their addresses and the tries (held).

local token, position, release = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local lease, batch = tonumber(ARGV[4]), tonumber(ARGV[5])
if redis.call('HGET', HUB, 'token') ~= token then
  return {-1}
end
check()
redis.call('LLEN', DEAD)
local done = 0
local handled = {}
local looked_at = redis.call('LLEN', TAIL) > 0
even_when_full()
repeat
  local mail = letters(batch)
  local old = 0
  while old < #mail and position_of(mail[old + 1]) <= position do
    old = old + 1
  end
  if old > 0 then
    for at = 1, looked_at and old or 0 do
      handled[#handled + 1] = mail[at]
    end
    redis.call('LTRIM', MAIL, old, -1)
  end
  done = done + old
until old == 0 or old < #mail
-- A repeated commit finds nothing to drop: its dead letters are kept already.
if done > 0 and #ARGV > 7 then
  for at = 8, #ARGV do
    redis.call('RPUSH', DEAD, ARGV[at])
  end
  redis.call('LTRIM', DEAD, -tonumber(ARGV[6]), -1)
  redis.call('PEXPIRE', DEAD, ARGV[7])
end
if #handled > 0 then
  local failed = {}
  for at = 8, #ARGV do
    failed[tonumber(string.match(ARGV[at], '^%[(%d+),'))] = true
  end
  for _, letter in ipairs(handled) do
    local mark = failed[position_of(letter)] and '!' or ' '
    redis.call('RPUSH', TAIL, mark .. string.sub(letter, 1, 4096))
  end
  redis.call('LTRIM', TAIL, -1000, -1)
end
local mail = letters(batch)
if release or (#mail == 0 and redis.call('HGET', HUB, 'ring') == '') then
  redis.call('HDEL', HUB, 'token', 'worker', 'until', 'ring', 'tried')
  if #mail > 0 then
    -- Given back with mail left: the next look of anybody rings for it, without the usual wait.
    redis.call('HSET', HUB, 'rung', '0')
  end
  return {0, vanish_if_empty(), #mail == 0 and 1 or 0}
end
redis.call('HSET', HUB, 'until', whole(now + lease))
return {1, token, mail, addresses(mail), try(mail, 0)}
