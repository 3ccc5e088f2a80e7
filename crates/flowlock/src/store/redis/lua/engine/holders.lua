-- The holders of a name, and how many others are concerned with it.

-- Returns the tickets of a name's standing holders, in order.
function F.holders(place, limit)
  local holder = F.exclusive_holder(place)
  local stakes = {}
  if holder then
    stakes[1] = { ticket = holder, mode = 'x' }
  end
  for _, text in ipairs(F.range('h' .. place .. '\0', FIRST, nil, limit)) do
    stakes[#stakes + 1] = F.stake_of(text)
  end
  return stakes
end

function F.exclusive_holder(place)
  local known = HOLDERS[place]
  if known == nil then
    F.holders_from(place, call('HGET', HASH, 'h' .. place))
    known = HOLDERS[place]
  end
  return known and byte(known) ~= SHARED_CODE and known
end

-- Reads the holders of all names at once.
function F.prefetch_holders(claims)
  local missing
  for _, claim in ipairs(claims) do
    if HOLDERS[claim.place] == nil and claim.mode ~= 'u' then
      missing = missing or {}
      missing[#missing + 1] = 'h' .. claim.place
    end
  end
  if missing then
    local found = call('HMGET', HASH, unpack(missing))
    for i, field in ipairs(missing) do
      F.holders_from(sub(field, 2), found[i])
    end
  end
end

-- Takes in the holders of a place, and how many others are concerned with it.
function F.holders_from(place, raw)
  local count, holders = string.match(raw or '', '^(%d+):(.*)$')
  OTHERS[place] = tonumber(count or 0)
  if count then
    raw = holders ~= '' and holders
  end
  HOLDERS[place] = raw
end

-- Returns a place's field in the hash; false if nobody is concerned with it.
function F.crowd_of(place)
  local others, holders = OTHERS[place], HOLDERS[place]
  if others > 0 then
    return format('%d:', others) .. (holders or '')
  end
  return holders
end

-- Returns a name's field in the hash after `more` shared holders were added (or removed); false if none is left.
function F.sharers(place, more)
  local known = HOLDERS[place]
  local count = (known and tonumber(sub(known, 2)) or 0) + more
  return count > 0 and 's' .. format('%d', count)
end

-- Notes that `more` (or fewer) others are concerned with a place, or with its record.
function F.note_others(place, more)
  local letter = byte(place)
  if letter == SLOT_CODE then
    return
  elseif letter == RECORD_CODE then
    place = 'd' .. sub(place, 2)
  end
  F.exclusive_holder(place)
  OTHERS[place] = OTHERS[place] + more
  step.others = step.others or {}
  step.others[place] = true
end

-- Adds a name's field in the hash to the fields to write, or to those to remove.
function F.sort_crowd(place, left, gone)
  local crowd = F.crowd_of(place)
  if crowd then
    left[#left + 1] = 'h' .. place
    left[#left + 1] = crowd
  else
    gone[#gone + 1] = 'h' .. place
  end
end

-- Writes what `note_others` noted, a thousand places at a time.
function F.write_others()
  local left, gone = {}, {}
  local function write(most)
    if #left > most then
      call('HSET', HASH, unpack(left))
      left = {}
    end
    if #gone > most then
      call('HDEL', HASH, unpack(gone))
      gone = {}
    end
  end
  for place in pairs(step.others) do
    F.sort_crowd(place, left, gone)
    write(2 * LONGEST_LIST)
  end
  write(0)
end

-- Adds a run to the holders of all its names; `also` is one more member of the index, written with them.
function F.hold_all(run, also)
  local claims = F.spec_of(run).claims
  local fields, index = {}, { also and 0, also }
  F.prefetch_holders(claims)
  for _, claim in ipairs(claims) do
    local place, mode = claim.place, claim.mode
    if mode == 'u' then
      F.hold_units(run, claim)
    else
      local holders = mode == 'x' and run.ticket or F.sharers(place, 1)
      HOLDERS[place] = holders
      fields[#fields + 1] = 'h' .. place
      fields[#fields + 1] = F.crowd_of(place)
      if mode == 's' then
        index[#index + 1] = 0
        index[#index + 1] = 'h' .. place .. '\0' .. run.ticket .. 's'
      end
    end
  end
  if fields[1] then
    call('HSET', HASH, unpack(fields))
  end
  if index[1] then
    call('ZADD', INDEX, unpack(index))
  end
end

-- Removes a standing holder from all its names, and `also` from the index.
function F.unhold_all(run, also)
  local claims = F.spec_of(run).claims
  local gone, left, index = {}, {}, { also }
  F.prefetch_holders(claims)
  for _, claim in ipairs(claims) do
    local place, mode = claim.place, claim.mode
    if mode == 'u' then
      F.unhold_units(run, claim)
    else
      local holders = mode == 's' and F.sharers(place, -1)
      HOLDERS[place] = holders
      if mode == 's' then
        index[#index + 1] = 'h' .. place .. '\0' .. run.ticket .. 's'
      end
      F.sort_crowd(place, left, gone)
    end
  end
  if left[1] then
    call('HSET', HASH, unpack(left))
  end
  if gone[1] then
    call('HDEL', HASH, unpack(gone))
  end
  if index[1] then
    call('ZREM', INDEX, unpack(index))
  end
end

function F.hold_units(run, claim)
  local place = claim.place
  call('HINCRBY', HASH, 'u' .. place, claim.units)
  call('ZADD', INDEX, 0, 'h' .. place .. '\0' .. F.member_of(run, claim), 0,
    'c' .. place .. '\0' .. F.capacity_of(run, claim))
end

function F.unhold_units(run, claim)
  local place = claim.place
  F.fewer_units('u' .. place, claim.units)
  call('ZREM', INDEX, 'h' .. place .. '\0' .. F.member_of(run, claim),
    'c' .. place .. '\0' .. F.capacity_of(run, claim))
end

function F.fewer_units(field, units)
  if call('HINCRBY', HASH, field, -units) == 0 then
    call('HDEL', HASH, field)
  end
end

-- Returns a stated capacity as it is in the index after its place: the smallest sorts first.
function F.capacity_of(run, claim)
  return format('%05d', claim.capacity) .. run.ticket
end

-- Returns a claim as it is in the index after its place.
function F.member_of(run, claim)
  if claim.mode == 'u' then
    return run.ticket .. 'u' .. format('%d/%d', claim.units, claim.capacity)
  end
  return run.ticket .. claim.mode
end
