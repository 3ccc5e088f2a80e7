-- The namespace's own row, and reads of the index.

function F.read_meta()
  local raw, removed = call('HMGET', HASH, 'm', 'M'), nil
  if not raw[1] then
    raw[1], removed = F.removed_meta()
    if not raw[1] then
      meta = F.new_meta()
      return
    end
  end
  local schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch, last_wall =
    struct.unpack(META, raw[1])
  if schema ~= SCHEMA then
    return schema
  end
  local ticket, token, ahead, queued, lapsed, pause_until, replication = struct.unpack(META_REST, raw[2])
  meta = {
    sequence = sequence, ticket = ticket, token = token, ahead = ahead, waiting = waiting, queued = queued,
    lapsed = lapsed, backlog = backlog, next_due = next_due, next_expiry = next_expiry, next_forget = next_forget,
    pause_until = pause_until, takeovers = takeovers, epoch = epoch, replication = replication, last_wall = last_wall,
    removed = removed,
  }
end

function F.new_meta()
  return {
    sequence = 0, ticket = 0, token = 0, ahead = 0, waiting = 0, queued = 0, lapsed = 0, backlog = 0, next_due = FAR,
    next_expiry = FAR, next_forget = FAR, pause_until = 0, takeovers = 0, epoch = NEW_EPOCH,
    replication = string.rep('-', SHA1_HEX), last_wall = 0, is_new = true,
  }
end

-- Returns what is left of a namespace that was removed: its row, and who removed it.
function F.removed_meta()
  local raw = call('HGET', HASH, 'x')
  if raw then
    local size = struct.size(META)
    return sub(raw, 1, size), sub(raw, size + 1)
  end
end

-- Returns the first index member that begins with `prefix`, without that prefix.
function F.first_of(prefix)
  local found = call('ZRANGEBYLEX', INDEX, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
  return found and sub(found, #prefix + 1)
end

function F.range(prefix, from, before, limit)
  local upto = before and '(' .. prefix .. before or '(' .. prefix .. '\255'
  local found = call('ZRANGEBYLEX', INDEX, '[' .. prefix .. from, upto, 'LIMIT', 0, limit)
  for i = 1, #found do
    found[i] = sub(found[i], #prefix + 1)
  end
  return found
end

function F.last_before(prefix, before)
  local upto = '(' .. prefix .. before
  local found = call('ZREVRANGEBYLEX', INDEX, upto, '[' .. prefix, 'LIMIT', 0, 1)[1]
  return found and sub(found, #prefix + 1)
end

-- Reads an index member after its place: ticket, mode, units, capacity.
function F.stake_of(text)
  local mode = sub(text, TICKET + 1, TICKET + 1)
  if mode == 'u' then
    local units, capacity = string.match(text, '^(%d+)/(%d+)$', TICKET + 2)
    return { ticket = sub(text, 1, TICKET), mode = mode, units = tonumber(units), capacity = tonumber(capacity) }
  end
  return { ticket = sub(text, 1, TICKET), mode = mode }
end

-- Reads fields of the hash, a limited number at a time.
function F.each_of(fields, visit)
  for from = 1, #fields, LONGEST_LIST do
    local found = call('HMGET', HASH, unpack(fields, from, math.min(from + LONGEST_LIST - 1, #fields)))
    for i = 1, #found do
      visit(fields[from + i - 1], found[i])
    end
  end
end

function F.first_score(key)
  return tonumber(call('ZRANGEBYSCORE', key, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]) or FAR
end
