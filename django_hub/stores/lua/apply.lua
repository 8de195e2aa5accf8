-- Join, Post, Leave, Lose and Update of one hub, in their order.
-- ARGV: mailbox limit, hub's name, how many replaced connections to remember, how long to remember what a session
-- posted in ms, then the fields of each op.
-- Returns: woken, the channel to ring at, outcomes, client id, process and connection of each replaced member, and,
-- where somebody joined, epoch and seq of the hub's log, if there is one.

local DONE, FULL, UNKNOWN, REPLACED, RESUMED, CROWDED = 0, 1, 2, 3, 4, 5
local limit, name, remembered, lost_ttl = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local outcomes, replaced, joined = {}, {}, false
-- Who posted last: often the next message is of the same member.
local poster, posting

local function tell_replaced(client, process, connection)
  replaced[#replaced + 1] = client
  replaced[#replaced + 1] = process
  replaced[#replaced + 1] = connection
end

-- The number of the last message that was the connection's own, as text.
local function own_posted(client, connection)
  local whose, number = string.match(redis.call('HGET', POSTED, own_posts(client)) or '', '^(.*) (%d+)$')
  return whose == connection and number or nil
end

local function join(client, connection, process, events, who, since, body, again, posted, grace, resumed, most)
  local old = member(client)
  poster = nil
  joined = true
  local chain = {}
  -- What a lost connection posted it may not know: the reply was lost, too.
  local lost = redis.call('MGET', lost_key(connection), lost_key(again))
  local session = session_of(connection)
  local asked = tonumber(posted)
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
        if at < #chain - 1 then
          return REPLACED
        end
        return session and at > 1 and session_of(chain[at - 2]) == session and RESUMED or DONE
      end
    end
    if again ~= '' and again ~= old.connection then
      return REPLACED
    end
    while #chain > 2 * remembered do
      table.remove(chain, 1)
    end
  end
  if not old and again == '' and most ~= '' and redis.call('HLEN', MEMBERS) >= tonumber(most) then
    return CROWDED
  end
  local new = {
    connection = connection, process = process, at = since, past = table.concat(chain, ','), grace = grace, who = who,
  }
  if old and session and session == session_of(old.connection) then
    write(client, new)
    redis.call('HSET', POSTED, client, whole(math.max(asked, redis.call('HGET', POSTED, client) or 0)))
    local own = again ~= '' and own_posted(client, again)
    if own then
      redis.call('HSET', POSTED, own_posts(client), connection .. ' ' .. own)
    end
    append(client, resumed)
    tell_replaced(client, old.process, old.connection)
    return RESUMED
  end
  if old and again ~= '' then
    posted = math.max(posted, redis.call('HGET', POSTED, client) or 0)
  end
  if redis.call('HSETNX', HUB, 'events', events) == 1 then
    redis.call('HSET', HUB, 'name', name)
  end
  if old then
    if session_of(old.connection) then
      remember(client, old.connection, lost_ttl)
    end
    forget_own_log(client)
    redis.call('HDEL', POSTED, own_posts(client))
    append(client, left(old.who, again == '' and 'replaced' or 'lost'))
    tell_replaced(client, old.process, old.connection)
  end
  write(client, new)
  redis.call('HSET', POSTED, client, whole(posted))
  redis.call('ZADD', IDS, 0, client)
  append(client, body)
  return DONE
end

local function post(client, connection, number, body, own)
  local known = poster == client and posting or member(client)
  poster, posting = client, known
  if not known then
    return UNKNOWN
  elseif known.connection ~= connection then
    return REPLACED
  end
  local last
  if own == '' then
    last = redis.call('HGET', POSTED, client)
  else
    last = own_posted(client, connection)
  end
  if tonumber(number) <= tonumber(last or '0') then
    return DONE
  elseif mail_waiting() >= limit then
    return FULL
  end
  if own == '' then
    redis.call('HSET', POSTED, client, number)
  else
    redis.call('HSET', POSTED, own_posts(client), connection .. ' ' .. number)
  end
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
  if session_of(connection) then
    remember(client, connection, lost_ttl)
  end
  remove(client)
  append(client, body)
  return DONE
end

local function lose(client, connection, body)
  poster = nil
  local known = member(client)
  if not known then
    return DONE
  elseif known.connection ~= connection then
    return REPLACED
  elseif not known.lost then
    known.lost = now + known.grace
    write(client, known)
    append(client, body)
  end
  return DONE
end

local function update(client, connection, who, body)
  poster = nil
  local known = member(client)
  if not known then
    return UNKNOWN
  elseif known.connection ~= connection then
    return REPLACED
  elseif known.who ~= who then
    known.who = who
    write(client, known)
    append(client, body)
  end
  return DONE
end

local KINDS = {join = {join, 12}, post = {post, 5}, leave = {leave, 3}, lose = {lose, 3}, update = {update, 4}}

check()
-- Before all writes, as what `check` looks at.
local log = redis.call('HMGET', LOG, 'epoch', 'seq')
local at = 5
while at <= #ARGV do
  local carry_out, fields = unpack(KINDS[ARGV[at]])
  outcomes[#outcomes + 1] = carry_out(unpack(ARGV, at + 1, at + fields))
  at = at + 1 + fields
end
appended()
return {woken, bell(), outcomes, replaced, joined and log[1] and log or {}}
