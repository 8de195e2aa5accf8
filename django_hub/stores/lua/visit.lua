-- Visits, in their order. KEYS: processes, the places of each subject, the score of each subject.
-- ARGV: process, how long places are kept in ms, how many subjects have places, how many counts follow; of each
-- count: its key's number, part, how many this process holds. Then of each visit: whether it goes, how many places,
-- how many scores; of each place: its key's number, part, most or ''; of each score: its key's number, most,
-- half-life in microseconds. Returns of each visit -1, or the number of the place or score, from 0, that had no room.
-- Places are a hash: process and part, and how many. Only a process sets what it holds, and always to what it is.

local process, ttl, subjects = ARGV[1], ARGV[2], tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local LIVES, LATE, DEAD = 1, 2, 3
local known = {[process] = LIVES}

local function state_of(name)
  if not known[name] then
    local until_ = redis.call('ZSCORE', KEYS[1], name)
    -- One that is late may be back without being told that it was dead: what it holds stays written.
    known[name] = not until_ and DEAD or tonumber(until_) > now and LIVES or LATE
  end
  return known[name]
end

local tallies, scores, forgotten, touched = {}, {}, {}, {}

local function add(tally, part, count)
  local before = tally.parts[part] or 0
  local after = before + count
  tally.parts[part] = after
  tally.sum = tally.sum + count
  if before <= 0 and after > 0 then
    tally.different = tally.different + 1
  elseif before > 0 and after <= 0 then
    tally.different = tally.different - 1
  end
end

for number = 2, subjects + 1 do
  local tally = {parts = {}, mine = {}, sum = 0, different = 0}
  local fields = redis.call('HGETALL', KEYS[number])
  for at = 1, #fields, 2 do
    local holder, part = string.match(fields[at], '^([^\n]*)\n(.*)$')
    local count, state = tonumber(fields[at + 1]), state_of(holder)
    if state == DEAD then
      forgotten[#forgotten + 1] = {KEYS[number], fields[at]}
    elseif state == LIVES then
      add(tally, part, count)
      if holder == process then
        tally.mine[part] = count
      end
    end
  end
  tallies[number] = tally
end
for number = subjects + 2, #KEYS do
  local value, at = string.match(redis.call('GET', KEYS[number]) or '0 0', '^(%S+) (%S+)$')
  scores[number] = {value = tonumber(value), at = tonumber(at)}
end

local function hold(number, part, change)
  local tally = tallies[number]
  local before = tally.mine[part] or 0
  local after = math.max(before + change, 0)
  add(tally, part, after - before)
  tally.mine[part] = after
  touched[number .. '\n' .. part] = {number, part}
end

local function has_room(number, part, most)
  local tally = tallies[number]
  if most == '' then
    return true
  elseif part ~= '' then
    return (tally.parts[part] or 0) > 0 or tally.different < tonumber(most)
  end
  return tally.sum < tonumber(most)
end

local function counts(number, most, half_life)
  local score = scores[number]
  -- A clock that was put back (another server took over) makes nothing more of what was.
  local value = score.value * 2 ^ (math.min(score.at - now, 0) / half_life) + 1
  score.value, score.at, score.half_life = math.min(value, 2 * most), now, half_life
  return score.value <= most
end

local at = 5
for _ = 1, tonumber(ARGV[4]) do
  local number, part, count = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  hold(number, part, count - (tallies[number].mine[part] or 0))
  at = at + 3
end
local answers = {}
while at <= #ARGV do
  local goes, places, marks = ARGV[at] == '1', tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local answer = -1
  at = at + 3
  for place = 0, places - 1 do
    local from = at + 3 * place
    if not goes and answer < 0 and not has_room(tonumber(ARGV[from]), ARGV[from + 1], ARGV[from + 2]) then
      answer = place
    end
  end
  for mark = 0, marks - 1 do
    local from = at + 3 * (places + mark)
    -- Each is counted, whatever the others say.
    if not counts(tonumber(ARGV[from]), tonumber(ARGV[from + 1]), tonumber(ARGV[from + 2])) and answer < 0 then
      answer = places + mark
    end
  end
  if answer < 0 then
    for place = 0, places - 1 do
      local from = at + 3 * place
      hold(tonumber(ARGV[from]), ARGV[from + 1], goes and -1 or 1)
    end
  end
  answers[#answers + 1] = answer
  at = at + 3 * (places + marks)
end

for _, field in ipairs(forgotten) do
  redis.call('HDEL', field[1], field[2])
end
for _, which in pairs(touched) do
  local number, part = which[1], which[2]
  local count = tallies[number].mine[part]
  if count > 0 then
    redis.call('HSET', KEYS[number], process .. '\n' .. part, string.format('%.0f', count))
    redis.call('PEXPIRE', KEYS[number], ttl)
  else
    redis.call('HDEL', KEYS[number], process .. '\n' .. part)
  end
end
for number, score in pairs(scores) do
  if score.half_life then
    -- Below a half it counts for nothing.
    local left = math.ceil(score.half_life / 1000 * math.log(2 * score.value) / math.log(2))
    redis.call('SET', KEYS[number], string.format('%.6f %.0f', score.value, score.at), 'PX', math.max(left, 1))
  end
end
return answers
