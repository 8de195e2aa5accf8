-- What all scripts of one hub begin with. Every key of a hub has its hash tag, so they are of one slot.
--
-- HUB      hash: name, events, named, last (position), rung, history_size, history_ttl (seconds),
--          and while leased: token, worker, until, ring, tried (position of the oldest letter, a space, and under
--          how many leases it was given out)
-- MEMBERS  hash: client id -> connection \n process \n at \n past \n grace \n until \n who; past are the connections
--          that one after another were replaced, the newest last, each with its process:
--          connection,process,connection,process; until is empty but of a lost member
-- IDS      sorted set of client ids, all of score 0: pages in the order of ids
-- POSTED   hash: client id -> number of its last accepted Post; and of those that were its connection's own,
--          client id NUL -> connection, a space, and number
-- MAIL     list of "position client NUL body", oldest first
-- DEAD     list of dead letters, oldest first
-- LOST     LOST:connection, or LOST:session, is a number, for a while: that of the last accepted Post
-- LOG      hash: epoch, seq
-- HISTORY  list of "id NUL item", oldest first; the last one's number is the log's seq
-- SENT     hash: client id -> seq of the member's own log; OWN:client is as HISTORY
-- TOLD     sorted set: client id by the time at which its own log was last published to
-- TAIL     list of handled letters, each behind ' ' or '!' (it failed): there only while somebody looks (tail.lua)
--
-- Times are microseconds of this server's clock, which is also what positions begin at: they rise also
-- when a hub vanishes and is back. A script that fails midway keeps what it wrote, so each one reads and checks
-- before its first write; and what frees memory comes before what takes it, for a full server must still drain.

local HUB, MEMBERS, IDS, POSTED, MAIL, DEAD, LOST, LOG, HISTORY, SENT, OWN, TOLD, TAIL = unpack(KEYS)
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function whole(number)
  return string.format('%.0f', number)
end

-- Raises where something else has written to a key of the hub: before anything else is written.
local function check()
  redis.call('HLEN', HUB)
  redis.call('HLEN', MEMBERS)
  redis.call('ZCARD', IDS)
  redis.call('HLEN', POSTED)
  redis.call('LLEN', MAIL)
  redis.call('HLEN', SENT)
  redis.call('ZCARD', TOLD)
end

-- To be called before the first write of what makes room, or keeps what is there: a server at its maxmemory refuses
-- a script's first write where that takes memory, and none behind a write that takes none.
local function even_when_full()
  redis.call('PERSIST', HUB)
end

local woken = 0
local waiting, last

local function mail_waiting()
  waiting = waiting or redis.call('LLEN', MAIL)
  return waiting
end

local function append(client, body)
  if mail_waiting() == 0 then
    woken = 1
    redis.call('HSET', HUB, 'rung', whole(now))
  end
  last = math.max((last or tonumber(redis.call('HGET', HUB, 'last') or '0')) + 1, now)
  redis.call('RPUSH', MAIL, whole(last) .. ' ' .. client .. '\0' .. body)
  waiting = waiting + 1
end

-- To be called behind the last `append`.
local function appended()
  if last then
    redis.call('HSET', HUB, 'last', whole(last))
  end
end

local function member(client)
  local record = redis.call('HGET', MEMBERS, client)
  if record then
    local connection, process, at, past, grace, until_, who =
      string.match(record, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
    return {
      connection = connection, process = process, at = at, past = past, grace = grace, lost = tonumber(until_), who = who,
    }
  end
end

local function write(client, known)
  local until_ = known.lost and whole(known.lost) or ''
  local record = {known.connection, known.process, known.at, known.past, known.grace, until_, known.who}
  redis.call('HSET', MEMBERS, client, table.concat(record, '\n'))
end

local function session_of(connection)
  return string.match(connection, '^(.+)%.[^.]*$')
end

-- Where it is remembered what a connection has posted when it is no member any more.
local function lost_key(connection)
  return LOST .. ':' .. (session_of(connection) or connection)
end

local function remember(client, connection, ttl)
  local posted = redis.call('HGET', POSTED, client)
  if posted and posted ~= '0' then
    redis.call('SET', lost_key(connection), posted, 'PX', ttl)
  end
end

local function own_posts(client)
  return client .. '\0'
end

local function own_log(client)
  return OWN .. ':' .. client
end

local function forget_own_log(client)
  if redis.call('HDEL', SENT, client) == 1 then
    redis.call('DEL', own_log(client))
    redis.call('ZREM', TOLD, client)
  end
end

local function remove(client)
  forget_own_log(client)
  redis.call('HDEL', MEMBERS, client)
  redis.call('HDEL', POSTED, client, own_posts(client))
  redis.call('ZREM', IDS, client)
end

local function left(who, reason)
  return '["left",' .. who .. ',' .. string.format('%.6f', now / 1000000) .. ',"' .. reason .. '",null,null,[]]'
end

-- 1 if the hub is gone: nobody named it, nobody is in it, nothing waits in it.
local function vanish_if_empty()
  if redis.call('HGET', HUB, 'named') ~= '1' and redis.call('HEXISTS', HUB, 'token') == 0
      and redis.call('HLEN', MEMBERS) == 0 and redis.call('LLEN', MAIL) == 0 then
    redis.call('DEL', HUB)
    return 1
  end
  return 0
end

-- Where the hub is rung for: at its channel, or where the holder of its lease wants it.
local function bell()
  local hub = redis.call('HMGET', HUB, 'events', 'ring', 'until')
  if hub[2] and hub[2] ~= '' and tonumber(hub[3]) > now then
    return hub[2]
  end
  return hub[1] or ''
end

local function letters(batch)
  return redis.call('LRANGE', MAIL, 0, batch - 1)
end

-- Under how many leases the first of these letters is given out, one after another, without a commit; 0 if there is
-- none. `more` is 1 where this lease is a new one.
local function try(mail, more)
  if #mail == 0 then
    return 0
  end
  local first = string.match(mail[1], '^%d+')
  local position, tries = string.match(redis.call('HGET', HUB, 'tried') or '', '^(%d+) (%d+)$')
  tries = math.max(1, position == first and tries + more or 1)
  redis.call('HSET', HUB, 'tried', first .. ' ' .. tries)
  return tries
end

-- Client id, process and connection of each member that a letter is of: whom its handler is likely to answer.
local function addresses(mail)
  local found, seen = {}, {}
  for _, letter in ipairs(mail) do
    local client = string.match(letter, '^%d+ (%Z*)%z')
    if client and not seen[client] then
      seen[client] = true
      local known = member(client)
      if known then
        found[#found + 1] = client
        found[#found + 1] = known.process
        found[#found + 1] = known.connection
      end
    end
  end
  return found
end

local function position_of(letter)
  return tonumber(string.match(letter, '^(%d+) '))
end
