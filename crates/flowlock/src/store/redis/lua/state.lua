-- The tables of a namespace. All keys share one hash tag; names are fields and members, never keys.
--
--  HASH       the namespace's own row, and everything that is read by its name:
--    m, M           its own row: what every step needs of it (META), and the rest (META_REST)
--    x              in place of m, once the namespace was removed: the same, and after it who removed it
--    <ticket>       a run · s<ticket> what it asked for · v<ticket> versions of its inputs
--    n<nonce><id>   ticket of an attempt, and its head · i<id> ticket of the living, or else the latest run with an id
--    h<place>       ticket of the exclusive holder, or s and how many share it; before that, if others are concerned
--                   with the place, how many, and a colon · u<place> units in use · w<place> lapsed units
--    o<name>        a record
--  INDEX      the index, a sorted set by bytes; the first letter says of what:
--    h<place> NUL ticket mode   shared holders and units     y<place> NUL ticket mode   lapsed holders
--    c<place> NUL cap ticket    stated capacities            z<place> NUL cap ticket    those of lapsed holders
--    q<place> NUL ticket mode   queued runs                  e<place> NUL ticket        exclusive queued runs
--    p<place> NUL ticket        parked runs                  g<name> NUL ticket         runs that may not overwrite
--    k<client><ticket>          waiting and granted runs of a client
--    w<client><ticket>          those of them that leave the queue when it is silent
--    r<ticket>                  living runs
--  WRITTEN    written names, a sorted set by bytes
--  EXPIRIES   name -> when its record is due (microseconds since 1970)
--  DEADLINES  ticket -> when the run is due (milliseconds); less FORGET, when its outcome may be forgotten
--  CLIENTS    client -> when it is silent (milliseconds)
--  BACKLOG    what one step leaves to the next, by bytes: DIRTY and a place, HINT and a ticket and why to look at it
--
-- One hash, so that everything that a decision needs is one read, and everything that it changes one write.
--
-- A place is a letter and a name: a record, d data, l lock, s slot. A ticket is 16 digits. A claim has place, mode (s
-- shared, x exclusive, u units), must (its record must exist), units and capacity. A missing field is nil and means
-- none or false. Names in capitals that no file defines are constants: their home is Rust, and script/constants.rs
-- replaces them by their values.
--
-- "Others" of a place, besides those that hold it or ask for it: the runs queued for it, parked there or at its record,
-- the lapsed holders, and the runs that may not overwrite it; not at slots. Without any, and without deadlines that are
-- due, a request and a commit take the fast path, whatever happens at other places.
--
-- A run's row is a letter; its id, nonce, client, liveness and origin, each ended by NUL; and everything else about it.
-- The letter is Q for a queued run, A for one that awaits input, both while their process is heard; H for a run that
-- holds its claims, or did until a fast commit; - for all others. What changes of an H run is stored with its attempt,
-- after the ticket, in a head (RUN_HEAD, with the ticket). The fast paths write only the head, which takes precedence
-- over the row: a letter, token, deadline, lease, longest run time (-1: none), since when it runs, since when it is in
-- its state, until when it is remembered. The letter is R for a run with a standing lease that may commit, G for one
-- that was handed its claims and whose records do not change when it begins, C for one that a fast commit ended.
--
-- A record's state is L live, I incomplete, J incomplete only since its present holder began, E expired, R removed, N
-- never written. It begins with a head of fixed length (RECORD_HEAD): state, version, when it was written, when it is
-- due (-1: never). After it, each ended by NUL: who acted by hand (when, a space, JSON), the failed attempt (run, job,
-- outcome, time), the run, the job, what it was made from; then `-`, or `+` and the note.
--
-- Every function is a field of F, in the file of its subject, as in the engine in Rust. Defining one takes time in
-- every call, more so the more locals it captures: script.rs lists which are defined from the start and which are added
-- when one of them is first called. The locals that most functions capture are declared last, where they are found
-- first.

local holding_states, waiting_states = { granted = true, running = true }, { awaiting_input = true, queued = true }

-- What this step has read, in its current state.
local VERSIONS, RUNS, SPECS, RECORDS, HOLDERS, OTHERS = {}, {}, {}, {}, {}, {}

-- What this step has done: how many runs in the way it may still list, how many outdated hints it may still drop, whom
-- to tell, whether deadlines are left over, whether anything may be granted (once that was asked); and, from F.spend,
-- what it may still do of each kind.
local step = {
  probes = PROBES, hints = HINTS, wakes = {}, everybody = false, unswept = false,
}

local pack, unpack_row, byte, sub, format = cmsgpack.pack, cmsgpack.unpack, string.byte, string.sub, string.format
local meta
local call = redis.call
local F
