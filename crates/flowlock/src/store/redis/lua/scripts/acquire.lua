-- The script of a request.
--
-- ARGV: run id, nonce, what it asks for, client, liveness, origin, patience, latest arrival (milliseconds)

local refused = F.begin_step(ARGV[7])
if refused then
  return { false, 0, now, refused }
end
return F.end_step(F.acquire({
  id = ARGV[4], nonce = ARGV[5], spec = ARGV[6], client = ARGV[7], liveness = ARGV[8] ~= '' and ARGV[8] or nil,
  origin = ARGV[9], patience = ARGV[10], latest = tonumber(ARGV[11]),
}))
