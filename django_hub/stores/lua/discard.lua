-- ARGV: dead letters. Returns how many of them there were.

local count = 0
for _, letter in ipairs(ARGV) do
  count = count + redis.call('LREM', DEAD, 1, letter)
end
return count
