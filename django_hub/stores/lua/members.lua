-- ARGV: after, most. Returns ids and records, in the order of ids.

local ids = redis.call('ZRANGEBYLEX', IDS, ARGV[1] == '' and '-' or '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local page = {}
for _, client in ipairs(ids) do
  page[#page + 1] = client
  page[#page + 1] = redis.call('HGET', MEMBERS, client)
end
return page
