-- ARGV: for each dead letter its text, its client and its body. Returns how many are mail again, woken, where to ring.

check()
if redis.call('EXISTS', HUB) == 0 then
  return {0, 0, ''}
end
local count = 0
for at = 1, #ARGV, 3 do
  if redis.call('LREM', DEAD, 1, ARGV[at]) == 1 then
    append(ARGV[at + 1], ARGV[at + 2])
    count = count + 1
  end
end
appended()
return {count, woken, bell()}
