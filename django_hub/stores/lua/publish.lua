-- Publications of one hub, in their order. ARGV: see log.lua; then of each: client id (''), id, again, item.
-- Returns the epoch, a number each, 0 where there is no such member, and the process of each member.

local epoch, seq = log()
redis.call('HLEN', MEMBERS)
redis.call('HLEN', SENT)
local told = last_told()
redis.call('LLEN', HISTORY)
for at = 5, #ARGV, 4 do
  if ARGV[at] ~= '' then
    redis.call('LLEN', own_log(ARGV[at]))
  end
end

local touched, used = {}, false
local kept_ids = {}

-- The numbers of what is kept in a list, by id. Read once: it may be megabytes.
local function numbers_in(key, last)
  if not kept_ids[key] then
    kept_ids[key] = {}
    local items = redis.call('LRANGE', key, 0, -1)
    for at, item in ipairs(items) do
      kept_ids[key][string.match(item, '^%Z*')] = last - #items + at
    end
  end
  return kept_ids[key]
end

local function number(key, last, id, again, item)
  used = true
  local place = again == '1' and numbers_in(key, last)[id]
  if place then
    return place
  end
  touched[key] = true
  if size > 0 and ttl > 0 then
    redis.call('RPUSH', key, id .. '\0' .. item)
    if kept_ids[key] then
      kept_ids[key][id] = last + 1
    end
  end
  return last + 1
end

local numbers, processes = {}, {}
for at = 5, #ARGV, 4 do
  local client, place, process = ARGV[at], 0, ''
  if client == '' then
    place = number(HISTORY, seq, unpack(ARGV, at + 1, at + 3))
    seq = math.max(seq, place)
  elseif redis.call('HEXISTS', MEMBERS, client) == 1 then
    local last = tonumber(redis.call('HGET', SENT, client) or '0')
    place = number(own_log(client), last, unpack(ARGV, at + 1, at + 3))
    redis.call('HSET', SENT, client, whole(math.max(last, place)))
    told = math.max(told + 1, now)
    redis.call('ZADD', TOLD, whole(told), client)
    process = member(client).process
  end
  numbers[#numbers + 1] = place
  processes[#processes + 1] = process
end
for key in pairs(touched) do
  if size > 0 and ttl > 0 then
    redis.call('LTRIM', key, -size, -1)
    redis.call('PEXPIRE', key, whole(ttl))
  else
    redis.call('DEL', key)
  end
end
if used then
  keep_log(epoch, seq)
end
return {epoch, numbers, processes}
