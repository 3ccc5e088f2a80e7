-- Who may run and what is in the way: rule.rs for the server.

-- Returns whether two modes on one name exclude each other; slots do not.
function F.conflicts(a, b)
  return not (a == b and a ~= 'x')
end

function F.holders_block(claim)
  local place, mode = claim.place, claim.mode
  if mode == 's' then
    return HOLDERS[place] and byte(HOLDERS[place]) ~= SHARED_CODE
  elseif mode == 'x' then
    return HOLDERS[place]
  end
  local units, smallest = F.units_held(place)
  return units + claim.units > math.min(claim.capacity, smallest)
end

function F.queue_blocks(run, claim)
  return meta.queued > 0 and F.line_blocks(run, claim) and not (claim.mode == 's' and F.kinship(run, claim.place))
end

-- Returns the first obstacle in the way of a run: exists; missing, and the record's place; taken, and the place; or
-- nothing.
function F.first_obstacle(run)
  local spec = F.spec_of(run)
  F.prefetch_records(spec.inputs)
  F.prefetch_holders(spec.claims)
  if spec.if_written and F.has_written_output(spec) then
    return 'exists'
  end
  for _, name in ipairs(spec.inputs) do
    local record = RECORDS[name]
    if not record or record.state ~= 'L' or record.due and record.due <= wall then
      return 'missing', 'a' .. name
    end
  end
  for _, claim in ipairs(spec.claims) do
    if F.holders_block(claim) or meta.queued > 0 and F.queue_blocks(run, claim) then
      return 'taken', claim.place
    end
  end
end
