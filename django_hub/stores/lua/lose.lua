-- Members of a dead process. ARGV: client id and connection of each. Returns woken and the channel to ring at.

for at = 1, #ARGV, 2 do
  local known = member(ARGV[at])
  if known and known.connection == ARGV[at + 1] then
    remove(ARGV[at])
    append(left(known.who, 'lost'))
  end
end
return {woken, bell()}
