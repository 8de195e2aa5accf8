-- Members of a dead process. ARGV: how long to remember their messages in ms, client id and connection of each.
-- Returns woken and the channel to ring at.

check()
for at = 2, #ARGV, 2 do
  local known = member(ARGV[at])
  if known and known.connection == ARGV[at + 1] then
    local posted = redis.call('HGET', POSTED, ARGV[at])
    remove(ARGV[at])
    append(ARGV[at], left(known.who, 'lost'))
    if posted and posted ~= '0' then
      redis.call('SET', LOST .. ':' .. known.connection, posted, 'PX', ARGV[1])
    end
  end
end
appended()
return {woken, bell()}
