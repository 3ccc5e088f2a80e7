-- Every key of a database with all that is in it, a line each, so that a change of how rows are kept can be seen. What
-- chance decides is masked.
local META, META_REST, RUN_HEAD, RECORD = '>Bdddddddc16d', '>ddddddc40', '>c16c1ddddddd', '>c1ddd'

local function shown(text)
  return (string.gsub(text, '[^ -~]', function(c)
    return string.format('\\x%02x', string.byte(c))
  end))
end

local function said(value)
  if type(value) == 'number' then
    return string.format('%.17g', value)
  elseif type(value) == 'string' then
    return '"' .. shown(value) .. '"'
  elseif type(value) ~= 'table' then
    return tostring(value)
  end
  local parts, keys = {}, {}
  for i, item in ipairs(value) do
    parts[i] = said(item)
  end
  if #parts > 0 or next(value) == nil then
    return '[' .. table.concat(parts, ', ') .. ']'
  end
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  for i, key in ipairs(keys) do
    parts[i] = key .. '=' .. said(value[key])
  end
  return '{' .. table.concat(parts, ', ') .. '}'
end

-- What is packed in a fixed form; as it is if the form is another by now.
local function fixed(format, text, masked)
  local size = struct.size(format)
  if #text < size then
    return shown(text)
  end
  local values = { struct.unpack(format, text) }
  values[#values] = nil
  for i, value in ipairs(values) do
    values[i] = i == masked and '(by chance)' or said(value)
  end
  return format .. ' ' .. table.concat(values, ' ') .. ' ' .. shown(string.sub(text, size + 1))
end

local function field(name, value)
  if name == 'm' or name == 'x' then
    return fixed(META, value, 9)
  elseif name == 'M' then
    return fixed(META_REST, value, 7)
  elseif string.match(name, '^%d+$') then
    local head, rest = string.match(value, '^(%Z*%z%Z*%z%Z*%z%Z*%z%Z*%z)()')
    return shown(head) .. ' ' .. said(cmsgpack.unpack(string.sub(value, rest)))
  end
  local letter = string.sub(name, 1, 1)
  if letter == 's' then
    return said(cmsgpack.unpack(value))
  elseif letter == 'n' then
    return fixed(RUN_HEAD, value)
  elseif letter == 'o' then
    return fixed(RECORD, value)
  end
  return shown(value)
end

local function add_all(lines, key, list, show)
  local found = {}
  for i = 1, #list, 2 do
    -- What the world of the tests keeps beside the rows is none of them.
    if string.sub(list[i], 1, 1) ~= '!' then
      found[#found + 1] = '  ' .. shown(list[i]) .. ': ' .. show(list[i], list[i + 1])
    end
  end
  table.sort(found)
  lines[#lines + 1] = key
  for _, line in ipairs(found) do
    lines[#lines + 1] = line
  end
end

local lines, keys = {}, redis.call('KEYS', '*')
table.sort(keys)
for _, key in ipairs(keys) do
  if redis.call('TYPE', key).ok == 'hash' then
    add_all(lines, key, redis.call('HGETALL', key), field)
  else
    add_all(lines, key, redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), function(_, score)
      return score
    end)
  end
end
return lines
