-- A wait for one's own ancestors never ends, so it is refused when the request arrives.
--
-- The rule is asked about a smaller world: only the ancestors hold names, and only the queued runs that wait for an
-- ancestor are there.

-- Returns whether the run would wait for its ancestors: one of them would have to write a missing input, or what they
-- hold together leaves no room for a claim of the run, alone or with the runs ahead that wait for an ancestor.
function F.is_deadlock(run)
  local held, examined = {}, {}
  for _, ticket in ipairs(run.ancestors or {}) do
    local ancestor = F.run_of(ticket)
    if ancestor and holding_states[ancestor.state] then
      if F.would_write_missing_input(ancestor, run) then
        return true
      end
      if not F.is_late(ancestor) then
        F.add_claims(held, ancestor)
      end
    end
  end
  for _, claim in ipairs(next(held) and F.spec_of(run).claims or {}) do
    if F.never_fits(run, claim, held, examined) then
      return true
    end
  end
  return false
end

function F.would_write_missing_input(ancestor, run)
  local writes = {}
  for _, name in ipairs(F.spec_of(ancestor).outputs) do
    writes[name] = true
  end
  for _, name in ipairs(F.spec_of(run).inputs) do
    if writes[name] and F.state_of(F.record(name)) ~= 'L' then
      return true
    end
  end
  return false
end

function F.never_fits(run, claim, held, examined)
  if F.ancestors_block(held, claim) then
    return true
  end
  local ahead = F.ahead_for_an_ancestor(run, claim, held, examined)
  if claim.mode == 's' then
    return ahead.x and not F.kinship(run, claim.place)
  elseif claim.mode == 'x' then
    return ahead.x or ahead.s
  end
  local crowd = F.held_at(held, claim)
  return ahead.units > 0
    and crowd.units + ahead.units + claim.units > math.min(claim.capacity, crowd.capacity, ahead.capacity)
end

-- Returns whether what the ancestors hold together is enough to block a claim.
function F.ancestors_block(held, claim)
  local crowd = F.held_at(held, claim)
  if claim.mode == 'u' then
    return crowd.units + claim.units > math.min(claim.capacity, crowd.capacity)
  end
  return crowd.x or claim.mode == 'x' and crowd.s
end

-- Returns the runs ahead in the queue for this name that wait for an ancestor themselves, as far as this step may
-- examine them.
function F.ahead_for_an_ancestor(run, claim, held, examined)
  local crowd = F.nobody()
  for _, text in ipairs(F.range(F.line_in_the_way(claim), FIRST, run.ticket, EXAMINED)) do
    local ticket = sub(text, 1, TICKET)
    if examined[ticket] == nil then
      local spec = F.spec_of(F.must_find(ticket))
      if not F.spend('examined', #spec.claims) then
        break
      end
      examined[ticket] = F.waits_for_an_ancestor(spec, held)
    end
    if examined[ticket] then
      F.join(crowd, claim.mode == 's' and { mode = 'x' } or F.stake_of(text))
    end
  end
  return crowd
end

function F.waits_for_an_ancestor(spec, held)
  for _, wanted in ipairs(spec.claims) do
    if F.ancestors_block(held, wanted) then
      return true
    end
  end
  return false
end

function F.add_claims(held, ancestor)
  for _, claim in ipairs(F.spec_of(ancestor).claims) do
    held[claim.place] = held[claim.place] or F.nobody()
    F.join(held[claim.place], claim)
  end
end

-- Adds a claim to a crowd: whether one is shared, whether one is exclusive, units and the smallest stated capacity.
function F.join(crowd, claim)
  if claim.mode == 'u' then
    crowd.units, crowd.capacity = crowd.units + claim.units, math.min(crowd.capacity, claim.capacity)
  else
    crowd[claim.mode] = true
  end
end

function F.held_at(held, claim)
  return held[claim.place] or F.nobody()
end

function F.nobody()
  return { units = 0, capacity = FAR }
end
