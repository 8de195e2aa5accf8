-- ARGV: time to live in ms, after (empty: from now on), most. Returns the last position, whether some were missed, items.

if redis.call('EXISTS', TAIL) == 0 then
  -- What keeps the list there, and shows while it is that none was dropped.
  redis.call('RPUSH', TAIL, '')
end
local function position(item)
  return tonumber(string.match(item, '^.(%d+) ') or '0')
end
local items = redis.call('LRANGE', TAIL, -tonumber(ARGV[3]), -1)
redis.call('PEXPIRE', TAIL, ARGV[1])
local last = position(items[#items])
if ARGV[2] == '' then
  return {whole(last), 0, {}}
end
local after = tonumber(ARGV[2])
local missed = items[1] ~= '' and position(items[1]) > after and 1 or 0
if missed == 1 and #items == tonumber(ARGV[3]) then
  -- The one before may be the last that is known.
  local before = redis.call('LINDEX', TAIL, -#items - 1)
  if before and position(before) <= after then
    missed = 0
  end
end
local new = {}
for _, item in ipairs(items) do
  if position(item) > after then
    new[#new + 1] = item
  end
end
return {whole(math.max(last, after)), missed, new}
