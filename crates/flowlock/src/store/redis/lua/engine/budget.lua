-- What one step may still look at; later steps continue with the rest.
--
-- For each kind a number of runs, and of their claims together. The first run is let through however many claims it
-- has, because otherwise a step could not continue at all.

-- Counts a run with this many claims as looked at; returns false if it may not be looked at any more. After that no
-- run may be: runs that are later in the order must not pass it.
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

-- Returns how many runs and claims are left, and whether the first run was let through.
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
