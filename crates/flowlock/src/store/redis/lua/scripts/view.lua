-- The script of reading.

local other_schema = F.read_meta()
if other_schema then
  return { false, 0, now, { 'schema', other_schema, SCHEMA } }
end
return { not meta.is_new and meta.epoch, meta.sequence, now, F.view(), meta.takeovers, wall }
