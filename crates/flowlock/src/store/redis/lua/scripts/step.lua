-- The script of every step except a request: what holders, waiting processes and operators do. ARGV: see each branch.

-- Reads a list among the arguments: its length, then each element.
local function list_at(at)
  local list = {}
  for i = 1, tonumber(ARGV[at]) do
    list[i] = ARGV[at + i]
  end
  return list
end

-- `-` means no note; `+` is in front of one.
local function note_from(text)
  return byte(text) == NOTE_CODE and sub(text, 2) or nil
end

-- The empty text means no liveness lock.
local function liveness_from(text)
  return text ~= '' and text or nil
end

-- Takes who acts by hand, if that is given: when, a space, who as JSON.
local function act_as(at)
  if ARGV[at] ~= '' then
    step.actor = format('%.0f ', wall) .. ARGV[at]
  end
end

local function act()
  if OP == 'commit' then
    act_as(7)
    return F.commit(ARGV[4], ARGV[5], note_from(ARGV[6]))
  elseif OP == 'refresh' then
    local answers, runs = {}, list_at(4)
    for i = 1, #runs, 2 do
      answers[#answers + 1] = F.refresh(runs[i], runs[i + 1])
    end
    return answers
  elseif OP == 'accept' then
    return F.accept({
      id = ARGV[4], nonce = ARGV[5], client = ARGV[6], liveness = liveness_from(ARGV[7]), origin = ARGV[8],
    })
  elseif OP == 'fail' then
    act_as(6)
    return F.fail(ARGV[4], ARGV[5])
  elseif OP == 'cancel' then
    return F.cancel(ARGV[4], ARGV[5], tonumber(ARGV[6]))
  elseif OP == 'give_back' then
    return F.give_back(ARGV[4], ARGV[5])
  elseif OP == 'heartbeat' then
    return F.heartbeat(ARGV[4], ARGV[5], list_at(6))
  elseif OP == 'bury' then
    return F.bury_reported(list_at(4))
  elseif OP == 'detach' then
    return F.detach(ARGV[4], ARGV[5])
  elseif OP == 'unlock' then
    act_as(7)
    return F.unlock(ARGV[4], tonumber(ARGV[5]), ARGV[6])
  elseif OP == 'create' then
    local record_life, names = tonumber(ARGV[7]), list_at(9)
    local versions = list_at(10 + #names)
    act_as(11 + #names + #versions)
    names = F.unchanged_since(names, versions)
    return F.create(names, ARGV[4] == 'respect', ARGV[5], ARGV[6], record_life, note_from(ARGV[8]))
  elseif OP == 'remove' then
    local names = list_at(5)
    local versions = list_at(6 + #names)
    act_as(7 + #names + #versions)
    return F.remove(F.unchanged_since(names, versions), ARGV[4] == 'respect')
  elseif OP == 'remove_namespace' then
    act_as(4)
    return F.remove_namespace()
  end
  F.damaged('no step ' .. #OP)
end

-- Before anything is written.
if OP == 'remove_namespace' and not redis.acl_check_cmd('ZREVRANGEBYSCORE') then
  error({ err = "NOPERM this user has no permissions to run the 'zrevrangebyscore' command" })
end
local refused = F.begin_step(OP == 'heartbeat' and ARGV[4] or OP == 'accept' and ARGV[6] or nil)
if refused then
  return { false, 0, now, refused }
end
return F.end_step(act())
