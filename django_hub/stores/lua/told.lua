-- ARGV: see log.lua; then a time. Returns connection and seq of each member whose own log was published to since.

local found = {}
for _, client in ipairs(redis.call('ZREVRANGEBYSCORE', TOLD, '+inf', '(' .. ARGV[5])) do
  local known = member(client)
  if known then
    found[#found + 1] = known.connection
    found[#found + 1] = tonumber(redis.call('HGET', SENT, client) or '0')
  end
end
return found
