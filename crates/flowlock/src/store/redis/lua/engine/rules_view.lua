-- What the rule asks about a namespace, from the point of view of one run.

function F.has_written_output(spec)
  F.prefetch_records(spec.outputs)
  for _, name in ipairs(spec.outputs) do
    if F.state_of(RECORDS[name]) == 'L' then
      return true
    end
  end
end

-- Returns the units in use at a slot and the smallest capacity that its holders stated: the standing or the lapsed
-- ones.
function F.units_held(place, lapsed)
  local units = tonumber(call('HGET', HASH, (lapsed and 'w' or 'u') .. place) or '0')
  local smallest = F.first_of((lapsed and 'z' or 'c') .. place .. '\0')
  return units, smallest and tonumber(sub(smallest, 1, 5)) or FAR
end

-- Returns the units wanted ahead of a ticket, counted only until they exceed `enough`, and the smallest capacity
-- stated there.
function F.units_ahead(place, before, enough)
  local units, smallest, from = 0, FAR, FIRST
  while true do
    local page = F.range('q' .. place .. '\0', from, before, PAGE)
    for _, text in ipairs(page) do
      local stake = F.stake_of(text)
      units = units + stake.units
      smallest = math.min(smallest, stake.capacity)
      if units > enough then
        return units, smallest
      end
    end
    if #page < PAGE then
      return units, smallest
    end
    from = sub(page[PAGE], 1, TICKET) .. '\255'
  end
end

function F.kinship(run, place)
  for _, ancestor in ipairs(run.ancestors or {}) do
    if F.shares(ancestor, place) then
      return true
    end
  end
  return false
end

-- Returns whether the runs queued ahead are in the way, apart from the right of an ancestor's child to pass.
function F.line_blocks(run, claim)
  if claim.mode == 'u' then
    local place = claim.place
    local ahead, stated = F.units_ahead(place, run.ticket, claim.capacity)
    if ahead == 0 then
      return false
    end
    local units, smallest = F.units_held(place)
    return units + ahead + claim.units > math.min(claim.capacity, smallest, stated)
  end
  local first = F.first_of(F.line_in_the_way(claim))
  return first ~= nil and sub(first, 1, TICKET) < run.ticket
end

-- Returns where the queued runs are listed whose claims conflict with a claim: for a shared one only exclusive ones
-- do.
function F.line_in_the_way(claim)
  return (claim.mode == 's' and 'e' or 'q') .. claim.place .. '\0'
end
