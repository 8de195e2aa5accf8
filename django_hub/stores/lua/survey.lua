-- KEYS: of those that hub.lua names HUB, MEMBERS, MAIL, DEAD, LOG. It stands without that: a hundred thousand hubs are
-- looked at.
-- Returns whether the hub is there, its channel, its members, its mail, the oldest letter's position, now, its dead
-- letters, its worker, and the number its log has come to.

local HUB, MEMBERS, MAIL, DEAD, LOG = unpack(KEYS)
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local hub = redis.call('HMGET', HUB, 'events', 'worker', 'until')
local oldest = redis.call('LINDEX', MAIL, 0)
local worker = hub[2] and tonumber(hub[3]) > now and hub[2] or ''
return {
  hub[1] and 1 or 0, hub[1] or '', redis.call('HLEN', MEMBERS), redis.call('LLEN', MAIL),
  oldest and string.match(oldest, '^(%d+) ') or '', string.format('%.0f', now), redis.call('LLEN', DEAD), worker,
  redis.call('HGET', LOG, 'seq') or '0',
}
