-- Members of a dead process. ARGV: how long to remember their messages in ms, client id and connection of each.
-- One that is online and has a grace becomes lost; one whose grace is not over stays.
-- Returns woken, the channel to ring at, and of each whether it is done with.

check()
local done = {}
for at = 2, #ARGV, 2 do
  local client, connection = ARGV[at], ARGV[at + 1]
  local known = member(client)
  local over = 1
  if known and known.connection == connection then
    if not known.lost and tonumber(known.grace) > 0 then
      known.lost = now + known.grace
      write(client, known)
      append(client, '["lost",' .. known.who .. ',' .. string.format('%.6f', now / 1000000) .. ',"lost",null]')
      over = 0
    elseif known.lost and known.lost > now then
      over = 0
    else
      remember(client, connection, ARGV[1])
      remove(client)
      append(client, left(known.who, 'lost'))
    end
  end
  done[#done + 1] = over
end
appended()
return {woken, bell(), done}
