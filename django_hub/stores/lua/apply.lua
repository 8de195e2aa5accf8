-- Join, Post and Leave of one hub, in their order.
-- ARGV: mailbox limit, hub's name, how many replaced connections to remember, then the fields of each op.
-- Returns: woken, the channel to ring at, outcomes, and client id, process and connection of each replaced member.

local DONE, FULL, UNKNOWN, REPLACED = 0, 1, 2, 3
local limit, name, remembered = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local outcomes, replaced = {}, {}
-- Who posted last: often the next message is of the same member.
local poster, posting

local function tell_replaced(client, process, connection)
  replaced[#replaced + 1] = client
  replaced[#replaced + 1] = process
  replaced[#replaced + 1] = connection
end

local function join(client, connection, process, events, who, at, body, again, posted)
  local old = member(client)
  poster = nil
  local chain = {}
  local reason
  -- What a lost connection posted it may not know: the reply was lost, too.
  local lost = redis.call('MGET', LOST .. ':' .. connection, LOST .. ':' .. again)
  posted = math.max(posted, lost[1] or 0, lost[2] or 0)
  if old then
    for each in string.gmatch(old.past, '[^,]+') do
      chain[#chain + 1] = each
    end
    chain[#chain + 1] = old.connection
    chain[#chain + 1] = old.process
    for at = 1, #chain, 2 do
      if chain[at] == connection then
        if at > 1 then
          -- The reply that told of it may be lost.
          tell_replaced(client, chain[at - 1], chain[at - 2])
        end
        return at == #chain - 1 and DONE or REPLACED
      end
    end
    if again ~= '' and again ~= old.connection then
      return REPLACED
    end
    reason = again == '' and 'replaced' or 'lost'
    if again ~= '' then
      posted = math.max(posted, redis.call('HGET', POSTED, client) or 0)
    end
    while #chain > 2 * remembered do
      table.remove(chain, 1)
    end
  end
  if redis.call('HSETNX', HUB, 'events', events) == 1 then
    redis.call('HSET', HUB, 'name', name)
  end
  if old then
    append(client, left(old.who, reason))
    tell_replaced(client, old.process, old.connection)
  end
  local record = {connection, process, at, table.concat(chain, ','), who}
  redis.call('HSET', MEMBERS, client, table.concat(record, '\n'))
  redis.call('HSET', POSTED, client, whole(posted))
  redis.call('ZADD', IDS, 0, client)
  append(client, body)
  return DONE
end

local function post(client, connection, number, body)
  local known = poster == client and posting or member(client)
  poster, posting = client, known
  if not known then
    return UNKNOWN
  elseif known.connection ~= connection then
    return REPLACED
  elseif tonumber(number) <= tonumber(redis.call('HGET', POSTED, client) or '0') then
    return DONE
  elseif mail_waiting() >= limit then
    return FULL
  end
  redis.call('HSET', POSTED, client, number)
  append(client, body)
  return DONE
end

local function leave(client, connection, body)
  poster = nil
  local known = member(client)
  if not known then
    return DONE
  elseif known.connection ~= connection then
    return REPLACED
  end
  remove(client)
  append(client, body)
  return DONE
end

check()
local at = 4
while at <= #ARGV do
  local kind = ARGV[at]
  if kind == 'join' then
    outcomes[#outcomes + 1] = join(unpack(ARGV, at + 1, at + 9))
    at = at + 10
  elseif kind == 'post' then
    outcomes[#outcomes + 1] = post(unpack(ARGV, at + 1, at + 4))
    at = at + 5
  else
    outcomes[#outcomes + 1] = leave(unpack(ARGV, at + 1, at + 3))
    at = at + 4
  end
end
appended()
return {woken, bell(), outcomes, replaced}
