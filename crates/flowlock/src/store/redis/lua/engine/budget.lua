-- What one step may still look at; what is left over, later steps continue.
--
-- Of each kind so many runs, and so many claims of theirs together. The first run is let through however many it has,
-- or a step could not go on at all.

-- Whether a run with so many claims may still be looked at; if so, it is counted. If not, nobody is any more: whoever
-- comes later in the order must not pass it.
function F.spend(kind, claims)
  local left = F.left_of(kind)
  if left[1] == 0 or left[3] and claims > left[2] then
    left[1] = 0
    return false
  end
  left[1], left[2], left[3] = left[1] - 1, math.max(0, left[2] - claims), true
  return true
end

function F.stop(kind)
  F.left_of(kind)[1] = 0
end

function F.runs_left(kind)
  return F.left_of(kind)[1]
end

-- How many runs, how many claims, whether the first one was let through.
function F.left_of(kind)
  local left = step[kind]
  if not left then
    local most = {
      looks = LOOKS, due = DUE, ends = ENDS, returns = ENDS, explained = EXPLAINED, examined = EXAMINED,
      foreseen = ENDS, shown = MOST_RUNS,
    }
    left = { most[kind], CLAIMS, false }
    step[kind] = left
  end
  return left
end
