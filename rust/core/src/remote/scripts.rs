//! What Redis does in one go: each write, and what looks at a whole scope. Values are never parsed there. Names are those of
//! [`super::layout`]; times, positions and insertion numbers are decimal texts.

use super::resp::Command;

macro_rules! scripts {
    ($($(#[doc = $doc:literal])* $script:ident $body:literal)*) => {
        /// One script.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Script {
            $($(#[doc = $doc])* $script,)*
        }

        impl Script {
            /// All of them, in the order in which they are loaded.
            pub const ALL: [Script; [$($body),*].len()] = [$(Script::$script),*];

            /// Its Lua text.
            pub fn text(self) -> String {
                let body = match self {
                    $(Script::$script => $body,)*
                };
                let used = FUNCTIONS.iter().filter(|(call, _)| body.contains(call));
                let functions: String = used.map(|(_, function)| *function).collect();
                format!("{NAMES}{functions}{body}")
            }
        }
    };
}

const NAMES: &str = "\
local H, O = 'iii-fast:state:', 'iii-fast:order:'
local S, P, E = 'iii-fast:scopes', 'iii-fast:position', 'iii-fast:expiry'
local call = redis.call
";

/// Each is put into the scripts that use it: making a function takes time in every run.
const FUNCTIONS: [(&str, &str); 4] = [
    ("text(", "local function text(n) return string.format('%.0f', n) end\n"),
    ("member(", "local function member(scope, key) return #scope .. ':' .. scope .. key end\n"),
    (
        "remove(",
        "\
local function remove(scope, key)
  call('HDEL', H .. scope, key)
  call('ZREM', O .. scope, key)
  call('ZREM', E, #scope .. ':' .. scope .. key)
  if call('EXISTS', H .. scope) == 0 then call('SREM', S, scope) end
end
",
    ),
    (
        "gone(",
        "\
local function gone(scope, now)
  local keys, count, head = {}, 0, #scope .. ':' .. scope
  for _, m in ipairs(call('ZRANGEBYSCORE', E, '-inf', now)) do
    if string.sub(m, 1, #head) == head then
      keys[string.sub(m, #head + 1)] = true
      count = count + 1
    end
  end
  return keys, count
end
",
    ),
];

scripts! {
    /// scope, key, now, expires, value: its position, the entry before, whether that one had expired.
    Set "\
local scope, key, expires = ARGV[1], ARGV[2], ARGV[4]
local hash, now = H .. scope, ARGV[3]
local old = call('HGET', hash, key)
local seq, at, due = nil, '0', 0
if old then
  seq, at = string.match(old, '^%d+ (%d+) (%d+) ')
  if at ~= '0' and tonumber(at) <= tonumber(now) then due = 1 end
end
local version = string.format('%.0f', call('INCRBY', P, 1 + due))
if not old or due == 1 then
  seq = version
  call('ZADD', O .. scope, seq, key)
  if not old then call('SADD', S, scope) end
end
call('HSET', hash, key, version .. ' ' .. seq .. ' ' .. expires .. ' ' .. ARGV[5])
if expires ~= '0' then
  call('ZADD', E, expires, #scope .. ':' .. scope .. key)
elseif at ~= '0' then
  call('ZREM', E, #scope .. ':' .. scope .. key)
end
return {version, old, due}
"
    /// scope, key, now: its position and the entry; 0 when there is none.
    Delete "\
local old = call('HGET', H .. ARGV[1], ARGV[2])
if not old then return {'0'} end
local at = string.match(old, '^%d+ %d+ (%d+) ')
if at ~= '0' and tonumber(at) <= tonumber(ARGV[3]) then return {'0'} end
remove(ARGV[1], ARGV[2])
return {text(call('INCR', P)), old}
"
    /// scope, now, whether to tell: its position, live keys, expired ones, and then keys and entries; 0 when none is live.
    DeleteScope "\
local scope, now, told, timers, live, due = ARGV[1], tonumber(ARGV[2]), {}, {}, 0, 0
for _, key in ipairs(call('ZRANGE', O .. scope, 0, -1)) do
  local entry = call('HGET', H .. scope, key)
  local at = string.match(entry, '^%d+ %d+ (%d+) ')
  if at ~= '0' then timers[#timers + 1] = key end
  if at ~= '0' and tonumber(at) <= now then due = due + 1 else live = live + 1 end
  if ARGV[3] == '1' then
    told[#told + 1] = key
    told[#told + 1] = entry
  end
end
if live == 0 then return {'0', 0, 0, {}} end
for _, key in ipairs(timers) do call('ZREM', E, member(scope, key)) end
call('UNLINK', H .. scope, O .. scope)
call('SREM', S, scope)
return {text(call('INCRBY', P, due + 1)), live, due, told}
"
    /// scopes and keys: their entries.
    Read "\
local out = {}
for i = 1, #ARGV, 2 do out[#out + 1] = call('HGET', H .. ARGV[i], ARGV[i + 1]) end
return out
"
    /// positions used, keys seen, for each scope, key and version (0: absent); then what becomes of them: D scope key, or
    /// S scope key version insertion expires created value, where version, and insertion if created, count from the position before. Answers 1 and
    /// that position, or 0 and the entries as they are now.
    Commit "\
local n, i, now, same = tonumber(ARGV[2]), 3, {0}, true
for k = 1, n do
  local entry = call('HGET', H .. ARGV[i], ARGV[i + 1])
  now[k + 1] = entry
  if (entry and string.match(entry, '^%d+') or '0') ~= ARGV[i + 2] then same = false end
  i = i + 3
end
if not same then return now end
local base = call('INCRBY', P, ARGV[1]) - tonumber(ARGV[1])
while i <= #ARGV do
  local scope, key = ARGV[i + 1], ARGV[i + 2]
  if ARGV[i] == 'D' then
    remove(scope, key)
    i = i + 3
  else
    local seq, expires = ARGV[i + 4], ARGV[i + 5]
    if ARGV[i + 6] == '1' then
      seq = text(base + tonumber(seq))
      call('ZADD', O .. scope, seq, key)
      call('SADD', S, scope)
    end
    call('HSET', H .. scope, key, text(base + tonumber(ARGV[i + 3])) .. ' ' .. seq .. ' ' .. expires .. ' ' .. ARGV[i + 7])
    if expires ~= '0' then
      call('ZADD', E, expires, member(scope, key))
    else
      call('ZREM', E, member(scope, key))
    end
    i = i + 8
  end
end
return {1, text(base)}
"
    /// now: scopes that have live keys.
    Groups "\
local due, out = {}, {}
for _, m in ipairs(call('ZRANGEBYSCORE', E, '-inf', ARGV[1])) do
  local n, rest = string.match(m, '^(%d+):(.*)$')
  local scope = string.sub(rest, 1, tonumber(n))
  due[scope] = (due[scope] or 0) + 1
end
for _, scope in ipairs(call('SMEMBERS', S)) do
  if not due[scope] or call('HLEN', H .. scope) > due[scope] then out[#out + 1] = scope end
end
return out
"
    /// scope, now, prefix: its live keys in the order of insertion.
    Keys "\
local due, prefix, out = gone(ARGV[1], ARGV[2]), ARGV[3], {}
for _, key in ipairs(call('ZRANGE', O .. ARGV[1], 0, -1)) do
  if not due[key] and string.sub(key, 1, #prefix) == prefix then out[#out + 1] = key end
end
return out
"
    /// scope, now, prefix, from, entries, looks, bytes: live keys, whether there are more, the insertion number of the last one looked
    /// at, and then key, entry, and the number looked at before it.
    Page "\
local scope, prefix, from = ARGV[1], ARGV[3], ARGV[4]
local limit, looks, room = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local due, count = gone(scope, ARGV[2])
local out = {call('HLEN', H .. scope) - count, 0, ''}
local looked, shown, last = 0, 0, ''
while true do
  local batch = call('ZRANGEBYSCORE', O .. scope, from, '+inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  if #batch == 0 then return out end
  for i = 1, #batch, 2 do
    local key = batch[i]
    if not due[key] then
      if looked == looks or shown == limit or room < 0 then
        out[2] = 1
        return out
      end
      if string.sub(key, 1, #prefix) == prefix then
        local entry = call('HGET', H .. scope, key)
        local _, head = string.find(entry, '^%d+ %d+ %d+ ')
        out[#out + 1] = key
        out[#out + 1] = entry
        out[#out + 1] = last
        shown = shown + 1
        room = room - #key - #entry + head - 5
        if string.byte(entry, head + 1) == 193 then room = room + 1 end
      end
      looked = looked + 1
      last = batch[i + 1]
      out[3] = last
    end
  end
  from = '(' .. batch[#batch]
end
"
    /// now, how many, whether to tell: how many were removed, and then position, scope, key and entry of each.
    Expire "\
local now, list, told = tonumber(ARGV[1]), {}, {}
for _, m in ipairs(call('ZRANGEBYSCORE', E, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  local n, rest = string.match(m, '^(%d+):(.*)$')
  local scope, key = string.sub(rest, 1, tonumber(n)), string.sub(rest, tonumber(n) + 1)
  local entry = call('HGET', H .. scope, key)
  local seq, at
  if entry then seq, at = string.match(entry, '^%d+ (%d+) (%d+) ') end
  if at and at ~= '0' and tonumber(at) <= now then
    list[#list + 1] = {tonumber(at), tonumber(seq), scope, key, entry}
  else
    call('ZREM', E, m)
  end
end
table.sort(list, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
for _, one in ipairs(list) do
  remove(one[3], one[4])
  local position = text(call('INCR', P))
  if ARGV[3] == '1' then
    for _, part in ipairs({position, one[3], one[4], one[5]}) do told[#told + 1] = part end
  end
end
return {#list, told}
"
}

/// What Redis calls the scripts that it has loaded.
#[derive(Debug, Clone, Default)]
pub struct Loaded([Box<str>; Script::ALL.len()]);

impl Loaded {
    /// Script `index` of [`Script::ALL`] is known by `name`.
    pub fn set(&mut self, index: usize, name: &str) {
        if let Some(place) = self.0.get_mut(index) {
            *place = name.into();
        }
    }

    /// Begins a call of a script with `count` arguments.
    pub fn call<'o>(&self, out: &'o mut Vec<u8>, script: Script, count: usize) -> Command<'o> {
        let mut command = Command::new(out, count + 3);
        command.arg("EVALSHA").arg(self.0[script as usize].as_bytes()).arg("0");
        command
    }
}

/// Asks Redis to load a script.
pub fn load(out: &mut Vec<u8>, script: Script) {
    Command::new(out, 3).arg("SCRIPT").arg("LOAD").arg(script.text());
}
