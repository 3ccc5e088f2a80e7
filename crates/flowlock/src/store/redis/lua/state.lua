-- The tables of a namespace. All keys share one hash tag; names are fields and members, never keys.
--
--  HASH       the namespace's own row, and everything that is read by its name:
--    m, M           its own row: what every step needs of it (META), and the rest (META_REST)
--    x              in place of m, once the namespace was removed: the same, and behind it who did it
--    <ticket>       a run · s<ticket> what it asked for · v<ticket> versions of its inputs
--    n<nonce><id>   ticket of an attempt, and its head · i<id> ticket of the living, or else the latest run with an id
--    h<place>       ticket of the exclusive holder, or s and how many share it; before that, if others have to do with
--                   the place, how many, and a colon · u<place> units in use · w<place> lapsed units
--    o<name>        a record
--  INDEX      the index, a sorted set by bytes; the first letter says of what:
--    h<place> NUL ticket mode   shared holders and units     y<place> NUL ticket mode   lapsed holders
--    c<place> NUL cap ticket    stated capacities            z<place> NUL cap ticket    those of lapsed holders
--    q<place> NUL ticket mode   those in line                e<place> NUL ticket        exclusive ones in line
--    p<place> NUL ticket        parked runs                  g<name> NUL ticket         those who may not overwrite
--    k<client><ticket>          waiting and granted runs of a client
--    w<client><ticket>          those of them that leave the line when it is silent
--    r<ticket>                  living runs
--  WRITTEN    written names, a sorted set by bytes
--  EXPIRIES   name -> when its record is due (microseconds since 1970)
--  DEADLINES  ticket -> when the run is due (milliseconds); less FORGET, when its outcome may be forgotten
--  CLIENTS    client -> when it is silent (milliseconds)
--  BACKLOG    what one step leaves to the next, by bytes: DIRTY and a place, HINT and a ticket and why to look at it
--
-- One hash, so that all that a decision needs is one read, and all that it changes one write.
--
-- A place is a letter and a name: a record, d data, l lock, s slot. A ticket is 16 digits. A claim has place, mode (s
-- shared, x exclusive, u units), must (its record must exist), units and capacity. A field that is not there is nil:
-- none, or no. Names in capitals that no file defines are constants: their home is Rust, and script/constants.rs puts
-- their values in place of their names.
--
-- Others who have to do with a place, for who holds it or asks for it: those in line, parked there or at its record,
-- lapsed holders, and those who may not overwrite it; slots aside. Without any, and without deadlines that are due, a
-- request and a commit take the short way whatever goes on elsewhere.
--
-- A run's row is a letter; its id, nonce, client, liveness and origin, each ended by NUL; and all that is known of it
-- besides. The letter is Q for one that is queued, A for one that awaits input, both while their process is heard, and
-- - for anything else but those of H: they hold their claims, or did until a short commit. What changes of such a run
-- stands with its attempt, behind the ticket, in a head (RUN_HEAD, with the ticket) that the short ways write alone,
-- and that counts for more than the row: a letter, token, deadline, lease, longest run time (-1: none), since when it
-- runs, since when it is what it is, until when it is remembered. The letter is R for one that runs under a standing
-- lease and may commit, G for one that was handed its claims and whose records stay what they are when it begins, C for
-- one that a short commit ended.
--
-- A record's state is L live, I incomplete, J incomplete only since its present holder began, E expired, R removed, N
-- never written. It begins with a head of fixed length (RECORD_HEAD): state, version, when it was written, when it is
-- due (-1: never). Behind it, each ended by NUL: who acted by hand (when, a space, JSON), the failed attempt (run, job,
-- outcome, time), the run, the job, what it was made from; then `-`, or `+` and the note.
--
-- Every function is a field of F, and each is in the file of its subject, as in the engine in Rust. To define one costs
-- a moment of every call, and more so the more locals it captures: script.rs says which are there from the start and
-- which are added when one of them is first called. The locals that most functions capture are declared last, where
-- they are found first.

local holding_states, waiting_states = { granted = true, running = true }, { awaiting_input = true, queued = true }

-- What was read in this step, as it is by now.
local VERSIONS, RUNS, SPECS, RECORDS, HOLDERS, OTHERS = {}, {}, {}, {}, {}, {}

-- What this step has done: of how many runs in the way it may still speak, how many hints that are true no more it may
-- still drop, whom to tell, whether deadlines are left over, once it was asked, whether anything may be granted; and,
-- from F.spend, what it may still do of each kind.
local step = {
  probes = PROBES, hints = HINTS, wakes = {}, everybody = false, unswept = false,
}

local pack, unpack_row, byte, sub, format = cmsgpack.pack, cmsgpack.unpack, string.byte, string.sub, string.format
local meta
local call = redis.call
local F
