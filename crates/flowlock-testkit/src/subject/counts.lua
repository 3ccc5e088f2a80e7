-- The counts that the scripts keep beside what they count: of each namespace of a database, those that are wrong.
local wrong = {}
for _, hash in ipairs(redis.call('KEYS', 'fl:*:h')) do
  local index = string.sub(hash, 1, -2) .. "i"
  local places = {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', index, '-', '+')) do
    local kind, rest = string.match(member, '^([qypg])([^%z]*)%z')
    if kind == 'g' then
      rest = 'd' .. rest
    elseif kind and string.sub(rest, 1, 1) == 'a' then
      rest = 'd' .. string.sub(rest, 2)
    end
    if kind and string.sub(rest, 1, 1) ~= 's' then
      places[rest] = (places[rest] or 0) + 1
    end
  end
  local fields = redis.call('HGETALL', hash)
  for i = 1, #fields, 2 do
    local place = string.match(fields[i], '^h([dl].*)$')
    if place then
      local said = tonumber(string.match(fields[i + 1], '^(%d+):') or 0)
      local there = places[place] or 0
      if said ~= there then
        wrong[#wrong + 1] = hash .. ' ' .. place .. ': ' .. said .. ' others are counted, there are ' .. there
      end
      places[place] = nil
    end
  end
  for place, number in pairs(places) do
    wrong[#wrong + 1] = hash .. ' ' .. place .. ': no others are counted, there are ' .. number
  end
end
return wrong
